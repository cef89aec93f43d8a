//! Units of work, as flows use them.

use std::collections::{HashMap, HashSet};
use std::ops::{Deref, DerefMut};

use super::{CachedSessions, Iam};
use crate::audit::{Description, Event, InParent, Outcome, Record, Subject};
use crate::base::id::{AccountId, ParentId};
use crate::base::store_error::StoreError;
use crate::model::client::Client;
use crate::store::{Ports, UnitOfWork};

/// A unit of work: what is written through it is kept by [`commit`](Self::commit), all of it or nothing. Only then does the log tell of its
/// events, and is the worker woken for its messages. The records of its events are written together, as the last thing before that.
///
/// It dereferences to the store's ports.
pub(crate) struct Unit<'u> {
    iam: &'u Iam,
    transaction: Transaction<'u>,
    records: Vec<(Record, InParent)>,
    told: Vec<Told>,
    has_messages: bool,
    changed: Changed,
}

/// Whose cached sessions a unit changes: by its events, since every change has one.
#[derive(Default)]
struct Changed {
    accounts: HashSet<AccountId>,
    /// A parent, a role, or several at once.
    all: bool,
}

/// What the writes of a unit go into.
enum Transaction<'u> {
    /// One of the store's own.
    Own(Box<dyn UnitOfWork>),
    /// One of the host's, who keeps it or not.
    Hosts(&'u mut dyn Ports),
}

/// An event for the log.
struct Told {
    event: &'static str,
    outcome: Outcome,
    request_id: Option<String>,
    account: Option<AccountId>,
}

impl<'u> Unit<'u> {
    /// Writes into a transaction of the host's. [`commit`](Self::commit) leaves that as it is.
    pub(crate) fn within(iam: &'u Iam, ports: &'u mut dyn Ports) -> Self {
        Self::new(iam, Transaction::Hosts(ports))
    }

    fn new(iam: &'u Iam, transaction: Transaction<'u>) -> Self {
        Self {
            iam,
            transaction,
            records: Vec::new(),
            told: Vec::new(),
            has_messages: false,
            changed: Changed::default(),
        }
    }

    /// Notes an event for the trail. It is written with all others of the unit, before that is kept.
    #[expect(clippy::unused_async, reason = "it is awaited as every write of a unit, whenever it writes")]
    pub(crate) async fn record(
        &mut self,
        event: &Event,
        subject: Subject,
        client: &Client,
    ) -> Result<(), StoreError> {
        self.told.push(Told::new(event, &subject, client));
        let parent = subject.parent;
        let record = Record::new(event, subject, client, self.iam.now());
        match record.account {
            Some(account) => drop(self.changed.accounts.insert(account)),
            None => self.changed.all |= record.coalesce.is_none(),
        }
        self.records.push((self.iam.inner.listing.bounded(record), parent));
        Ok(())
    }

    /// Notes that a message was put into the outbox.
    pub(crate) fn note_message(&mut self) {
        self.has_messages = true;
    }

    /// Writes the records of what happened: in one statement, but for those that are counted.
    async fn write_records(&mut self) -> Result<(), StoreError> {
        self.find_parents().await?;
        let records = std::mem::take(&mut self.records).into_iter().map(|(record, _)| record);
        let (counted, listed): (Vec<_>, Vec<_>) = records.partition(|record| record.coalesce.is_some());
        if !listed.is_empty() {
            (**self).audit().append_all(&listed).await?;
        }
        if !counted.is_empty() {
            (**self).audit().count_all(&counted).await?;
        }
        Ok(())
    }

    /// Gives each record of what was done to an account that account's parent. It reads only what no other record of this unit knows.
    async fn find_parents(&mut self) -> Result<(), StoreError> {
        let mut known: HashMap<AccountId, Option<ParentId>> = HashMap::new();
        for (record, parent) in &self.records {
            if let (Some(account), InParent::Known(parent)) = (record.account, parent) {
                known.insert(account, *parent);
            }
        }
        let mut records = std::mem::take(&mut self.records);
        for (record, parent) in &mut records {
            let (Some(account), InParent::OfAccount) = (record.account, &parent) else { continue };
            record.parent = match known.get(&account) {
                Some(parent) => *parent,
                None => {
                    let found = (**self).accounts().by_id(account).await?.and_then(|account| account.parent);
                    known.insert(account, found);
                    found
                }
            };
        }
        self.records = records;
        Ok(())
    }

    /// Keeps what was written. Of a transaction of the host's that is the host's to do.
    pub(crate) async fn commit(mut self) -> Result<(), StoreError> {
        self.write_records().await?;
        let kept = match self.transaction {
            Transaction::Own(unit) => unit.commit().await,
            Transaction::Hosts(_) => Ok(()),
        };
        // A commit that failed may be kept all the same.
        if let Some(cache) = &self.iam.inner.cached_sessions {
            self.changed.forget(cache);
        }
        kept?;
        for told in &self.told {
            told.log();
        }
        if self.has_messages {
            self.iam.inner.outbox_wake.notify_one();
        }
        Ok(())
    }
}

impl<'u> Deref for Unit<'u> {
    type Target = dyn Ports + 'u;

    fn deref(&self) -> &Self::Target {
        match &self.transaction {
            Transaction::Own(unit) => unit.as_ref(),
            Transaction::Hosts(ports) => &**ports,
        }
    }
}

impl DerefMut for Unit<'_> {
    fn deref_mut(&mut self) -> &mut Self::Target {
        match &mut self.transaction {
            Transaction::Own(unit) => unit.as_mut(),
            Transaction::Hosts(ports) => &mut **ports,
        }
    }
}

impl Changed {
    fn forget(&self, cache: &CachedSessions) {
        if self.all {
            return cache.forget_all();
        }
        for account in &self.accounts {
            cache.forget(*account);
        }
    }
}

impl Told {
    fn new(event: &Event, subject: &Subject, client: &Client) -> Self {
        let Description { name, outcome, .. } = event.describe();
        Self { event: name, outcome, request_id: client.request_id.clone(), account: subject.account }
    }

    fn log(&self) {
        tracing::info!(target: "iam::audit", event = self.event, outcome = self.outcome.as_str(),
            request_id = self.request_id.as_deref(), account = self.account.map(tracing::field::display));
    }
}

/// Tells the log of an event that no unit of work writes: a refusal, which is counted.
pub(super) fn announce(event: &Event, subject: &Subject, client: &Client) {
    Told::new(event, subject, client).log();
}

impl Iam {
    /// Begins a unit of work of the store's own.
    pub(crate) async fn begin(&self) -> Result<Unit<'_>, StoreError> {
        Ok(Unit::new(self, Transaction::Own(self.inner.store.begin().await?)))
    }
}
