//! The host's own data: documents that belong to parents, and what was paid.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, PoisonError};

use iam_core::flow::Actor;
use iam_core::id::{AccountId, ParentId};
use iam_core::parent::ParentKey;
use iam_core::{Error, Iam};

/// A handful of documents and the payments, in memory.
#[derive(Clone, Debug, Default)]
pub struct Documents {
    documents: Arc<BTreeMap<u64, Document>>,
    payments: Arc<Mutex<Vec<Payment>>>,
}

/// Where a payment is written down. Each has a guard of its own, so neither shows what stands in the other.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Ledger {
    /// Who proves it for `payroll`.
    Payroll,
    /// Who approves each one for `transfer`.
    Transfers,
}

impl Ledger {
    /// What its page is called.
    pub const fn title(self) -> &'static str {
        match self {
            Self::Payroll => "Payroll",
            Self::Transfers => "Transfers",
        }
    }

    /// Where its page is.
    pub const fn path(self) -> &'static str {
        match self {
            Self::Payroll => "/payroll",
            Self::Transfers => "/transfers",
        }
    }
}

/// What was paid out.
#[derive(Clone, Debug)]
pub struct Payment {
    /// Where it is written down.
    pub ledger: Ledger,
    /// Who paid: nobody else is shown it.
    pub by: AccountId,
    /// How much, as it was typed.
    pub amount: String,
    /// To whom.
    pub payee: String,
}

/// A document.
#[derive(Debug)]
pub struct Document {
    /// What it is called.
    pub title: String,
    /// Whose it is.
    pub parent: ParentId,
}

impl Documents {
    /// Document 1 belongs to `acme`, 2 to `globex`.
    pub async fn of_the_example(iam: &Iam) -> Result<Self, Error> {
        let mut documents = BTreeMap::new();
        for (id, key) in [(1, "acme"), (2, "globex")] {
            let parent = iam.ensure_parent(&ParentKey::parse(key)?, &Actor::service()).await?;
            documents.insert(id, Document { title: format!("The plans of {key}"), parent });
        }
        Ok(Self { documents: Arc::new(documents), ..Self::default() })
    }

    /// A document.
    pub fn get(&self, id: u64) -> Option<&Document> {
        self.documents.get(&id)
    }

    /// Pays, and tells the service's own log.
    pub fn pay(&self, payment: Payment) {
        tracing::info!("paid {} to {}", payment.amount, payment.payee);
        self.payments.lock().unwrap_or_else(PoisonError::into_inner).push(payment);
    }

    /// What somebody has paid.
    pub fn payments(&self, ledger: Ledger, by: AccountId) -> Vec<Payment> {
        let payments = self.payments.lock().unwrap_or_else(PoisonError::into_inner);
        payments.iter().filter(|paid| paid.ledger == ledger && paid.by == by).cloned().collect()
    }
}
