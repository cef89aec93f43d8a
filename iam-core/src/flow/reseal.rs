//! Changing the key that seals: what lies under an old one is sealed anew, and then the old one is forgotten.

use std::collections::{BTreeMap, BTreeSet};

use crate::audit::Event;
use crate::authz::actor::Actor;
use crate::base::store_error::StoreError;
use crate::iam::{Iam, SealingKeys};
use crate::model::error::Error;
use crate::password::PepperRing;
use crate::secrets::seal::key_id;
use crate::store::{SealedColumn, SealedRow};

/// How many rows are looked at together, and at most sealed anew in one unit of work: few enough that a sign-in which needs one of them
/// waits for a moment only, on a slow link to the store, too.
const BATCH: u32 = 50;

/// How many rows are read together to be counted, or to be looked at at the start.
const PAGE: u32 = 200;

/// How often a batch is looked at again because a row of it changed meanwhile. Then its rows are left to the next run.
const TRIES: u8 = 3;

/// How far sealing anew has come. [`SealingKeys::resealing`] begins it, [`SealingKeys::reseal`] takes it further.
///
/// Nothing hangs on it: where it is lost, with its process or otherwise, another one goes on with what is left.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Resealing {
    /// Values that were sealed anew.
    pub done: u64,
    /// Values that were left as they are, since they don't open: they were damaged or moved, or their key is not there. The log names
    /// them.
    pub unreadable: u64,
    /// Values under other keys than the one that seals, by key (none for a value that is too short to name one): at first and at the end
    /// as they were counted, in between less what was done.
    pub left: BTreeMap<Option<u32>, u64>,
    /// The columns that are not done.
    columns: &'static [SealedColumn],
    /// The last row of the first of them that was looked at.
    before: Option<[u8; 16]>,
    tries: u8,
}

impl Resealing {
    /// Whether there are rows that were not looked at.
    pub const fn is_more_waiting(&self) -> bool {
        !self.columns.is_empty()
    }

    /// How many values are under other keys, all together.
    pub fn left(&self) -> u64 {
        self.left.values().sum()
    }
}

/// A key, and what is sealed under it.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct KeyInUse {
    /// Its id; none for values that are too short to name one.
    pub id: Option<u32>,
    /// Whether it is the one that seals.
    pub seals: bool,
    /// Whether this program has it.
    pub is_given: bool,
    /// Whether a program that does not have it refuses to start. [`SealingKeys::retire`] ends that.
    pub is_needed: bool,
    /// How many values there are in each column that has any.
    pub values: BTreeMap<SealedColumn, u64>,
}

/// What came of [`SealingKeys::retire`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
#[must_use]
pub enum Retirement {
    /// The key is not needed any more.
    Retired,
    /// It is the key that seals.
    Seals,
    /// Something is sealed under it.
    InUse,
    /// It was not needed: nothing was ever sealed under it, or it was retired before.
    Unknown,
}

impl SealingKeys<'_> {
    /// Begins to seal anew what lies under other keys than the first of `MFA_ENCRYPTION_KEY`. This only counts; then call
    /// [`reseal`](Self::reseal) while [`Resealing::is_more_waiting`].
    ///
    /// A process can't read what another one seals under a key that it does not have. So to change a key:
    ///
    /// 1. Where several processes run, start all of them with `0:OLD,1:NEW`, so that each can read what the next step seals.
    /// 2. Start all of them with `1:NEW,0:OLD`: from now on everything is sealed under 1.
    /// 3. Seal anew what is under 0. This may be stopped at any time, and begun again.
    /// 4. [`retire`](Self::retire): it refuses while anything is left, as [`in_use`](Self::in_use) tells.
    /// 5. Start all of them with `1:NEW`.
    ///
    /// No database can keep a process that was forgotten in step 2 from sealing something under the old key after step 4. It is found
    /// by [`in_use`](Self::in_use), the log says so at a start, and with the old key behind the new one again, step 3 takes it
    /// along: keep the old key until no process is left that seals with it.
    ///
    /// ```
    /// # use iam_core::{Actor, Error, Iam};
    /// # async fn rotate(iam: &Iam) -> Result<(), Error> {
    /// let actor = Actor::service();
    /// let mut resealing = iam.keys(&actor).resealing().await?;
    /// while resealing.is_more_waiting() {
    ///     iam.keys(&actor).reseal(&mut resealing).await?;
    ///     println!("{} done, {} left", resealing.done, resealing.left());
    /// }
    /// # Ok(()) }
    /// ```
    pub async fn resealing(self) -> Result<Resealing, Error> {
        let left = self.iam.count_left().await?;
        let columns = &SealedColumn::ALL;
        Ok(Resealing { done: 0, unreadable: 0, left, columns, before: None, tries: 0 })
    }

    /// Seals one small batch of values anew, with its record. Each is replaced only if it is what was read, so that a row which changes
    /// or goes meanwhile stays as it is, and any number of programs may do this at once. Dropped or failed, it has done all of its
    /// batch or nothing, and may be called again.
    pub async fn reseal(self, resealing: &mut Resealing) -> Result<(), Error> {
        self.iam.must_be_platform(self.actor, "keys.reseal").await?;
        let Some((&column, further)) = resealing.columns.split_first() else { return Ok(()) };
        let rows = self
            .iam
            .inner
            .store
            .reader()
            .await?
            .sealed_values()
            .rows(column, resealing.before, BATCH)
            .await?;
        let (renewals, unreadable) = self.iam.renewals(column, &rows)?;
        let renewed = self.iam.replace(column, &renewals, self.actor).await?;
        for renewal in &renewed {
            if let Some(left) = resealing.left.get_mut(&renewal.key) {
                *left = left.saturating_sub(1);
            }
        }
        resealing.done += renewed.len() as u64;
        if renewed.len() < renewals.len() && resealing.tries < TRIES {
            resealing.tries += 1;
            return Ok(());
        }
        let last = if rows.len() < BATCH as usize { None } else { rows.last().map(|row| row.row) };
        if last.is_none() && further.is_empty() {
            // Others may have done some of it, or added to it.
            resealing.left = self.iam.count_left().await?;
        }
        resealing.unreadable += unreadable;
        resealing.tries = 0;
        resealing.before = last;
        if last.is_none() {
            resealing.columns = further;
        }
        Ok(())
    }

    /// Every key that this program has, that it can't start without, or that something is sealed under, with how many values there are
    /// under each: the proof that nothing is left under an old key. It reads all sealed values, a page at a time.
    pub async fn in_use(self) -> Result<Vec<KeyInUse>, Error> {
        let ring = &self.iam.inner.keys.ring;
        let needed: BTreeSet<u32> = self.iam.needed_keys().await?;
        let mut values = self.iam.count_values().await?;
        let mut ids: BTreeSet<Option<u32>> = values.keys().map(|(id, _)| *id).collect();
        ids.extend(ring.ids().chain(needed.iter().copied()).map(Some));
        Ok(ids
            .into_iter()
            .map(|id| KeyInUse {
                id,
                seals: id == Some(ring.sealing_key()),
                is_given: ring.ids().any(|known| id == Some(known)),
                is_needed: id.is_some_and(|id| needed.contains(&id)),
                values: SealedColumn::ALL
                    .into_iter()
                    .filter_map(|column| Some((column, values.remove(&(id, column))?)))
                    .collect(),
            })
            .collect())
    }

    /// Forgets a key under which nothing is sealed any more: from now on a program starts without it. Whether anything is, the database
    /// decides in the statement that forgets it. [`resealing`](Self::resealing) says when.
    pub async fn retire(self, id: u32) -> Result<Retirement, Error> {
        self.iam.must_be_platform(self.actor, "keys.retire").await?;
        if id == self.iam.inner.keys.ring.sealing_key() {
            return Ok(Retirement::Seals);
        }
        // The rows beyond are those of another ring.
        if id >= PepperRing::IDS {
            return Ok(Retirement::Unknown);
        }
        self.iam
            .retried(|| async {
                let mut unit = self.iam.begin().await?;
                if !unit.keys().retire(id).await? {
                    let is_known = unit.keys().all().await?.iter().any(|(known, _)| *known == id);
                    return Ok(if is_known { Retirement::InUse } else { Retirement::Unknown });
                }
                unit.record(&Event::KeyRetired(id), self.actor.subject(), self.actor.client()).await?;
                unit.commit().await?;
                Ok(Retirement::Retired)
            })
            .await
    }
}

impl Iam {
    /// Says in the log, at a start, when one of the newest values is sealed under a key that this program does not have. Those are where
    /// a process that still sealed under a retired key would have left something; [`in_use`](SealingKeys::in_use) looks at all.
    pub(crate) async fn look_for_unknown_keys(&self) -> Result<(), StoreError> {
        for column in SealedColumn::ALL {
            let rows = self.inner.store.reader().await?.sealed_values().rows(column, None, PAGE).await?;
            let keys: BTreeSet<u32> = rows.iter().filter_map(|row| key_id(row.sealed.as_deref()?)).collect();
            for key in keys {
                if !self.inner.keys.ring.ids().any(|known| known == key) {
                    tracing::error!(
                        key,
                        table = column.table(),
                        "values are sealed under a key that MFA_ENCRYPTION_KEY does not have: give it back, behind the others, and seal \
                         them anew"
                    );
                }
            }
        }
        Ok(())
    }

    /// What is to be sealed anew among these rows, and how many values don't open.
    fn renewals<'a>(
        &self,
        column: SealedColumn,
        rows: &'a [SealedRow],
    ) -> Result<(Vec<Renewal<'a>>, u64), Error> {
        let ring = &self.inner.keys.ring;
        let (mut renewals, mut unreadable) = (Vec::new(), 0);
        for SealedRow { row, owner, sealed } in rows {
            let Some(old) = sealed.as_deref() else { continue };
            let key = key_id(old);
            if key == Some(ring.sealing_key()) {
                continue;
            }
            let place = column.place(owner, row);
            match ring.open(place, old) {
                Ok(value) => {
                    let new = ring.seal(place, &value, self.randomness())?;
                    renewals.push(Renewal { row, key, old, new });
                }
                Err(error) => {
                    let id = uuid::Uuid::from_bytes(*row);
                    tracing::error!(table = place.table, %id, key, "left as it is: {error}");
                    unreadable += 1;
                }
            }
        }
        Ok((renewals, unreadable))
    }

    /// Gives those that were replaced.
    async fn replace<'a, 'b>(
        &self,
        column: SealedColumn,
        renewals: &'b [Renewal<'a>],
        actor: &Actor,
    ) -> Result<Vec<&'b Renewal<'a>>, Error> {
        if renewals.is_empty() {
            return Ok(Vec::new());
        }
        let key = self.inner.keys.ring.sealing_key();
        self.retried(|| async {
            let mut unit = self.begin().await?;
            let mut renewed = Vec::new();
            for renewal in renewals {
                let Renewal { row, old, new, .. } = renewal;
                if unit.sealed_values().replace(column, row, old, new).await? {
                    renewed.push(renewal);
                }
            }
            if !renewed.is_empty() {
                let event =
                    Event::KeysResealed { key, count: u32::try_from(renewed.len()).unwrap_or(u32::MAX) };
                unit.record(&event, actor.subject(), actor.client()).await?;
                unit.commit().await?;
            }
            Ok(renewed)
        })
        .await
    }

    async fn needed_keys(&self) -> Result<BTreeSet<u32>, Error> {
        let mut unit = self.begin().await?;
        let canaries = unit.keys().all().await?;
        Ok(canaries.into_iter().map(|(id, _)| id).filter(|id| *id < PepperRing::IDS).collect())
    }

    async fn count_left(&self) -> Result<BTreeMap<Option<u32>, u64>, Error> {
        let mut left = BTreeMap::new();
        for ((key, _), count) in self.count_values().await? {
            if key != Some(self.inner.keys.ring.sealing_key()) {
                *left.entry(key).or_default() += count;
            }
        }
        Ok(left)
    }

    async fn count_values(&self) -> Result<BTreeMap<(Option<u32>, SealedColumn), u64>, Error> {
        let mut values = BTreeMap::new();
        for column in SealedColumn::ALL {
            let mut before = None;
            loop {
                let rows =
                    self.inner.store.reader().await?.sealed_values().rows(column, before, PAGE).await?;
                for sealed in rows.iter().filter_map(|row| row.sealed.as_deref()) {
                    *values.entry((key_id(sealed), column)).or_default() += 1;
                }
                let Some(last) = rows.last().filter(|_| rows.len() >= PAGE as usize) else { break };
                before = Some(last.row);
            }
        }
        Ok(values)
    }
}

/// A value that is to take another one's place.
struct Renewal<'a> {
    row: &'a [u8; 16],
    key: Option<u32>,
    old: &'a [u8],
    new: Vec<u8>,
}
