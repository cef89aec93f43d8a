//! The host's own data: documents that belong to parents, and what was paid.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, PoisonError};

use iam_core::{AccountId, Actor, Error, Iam, ParentId, ParentKey};

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
            let parent = iam.parents(&Actor::service()).ensure(&ParentKey::parse(key)?).await?;
            documents.insert(id, Document { title: format!("The plans of {key}"), parent });
        }
        Ok(Self { documents: Arc::new(documents), ..Self::default() })
    }

    /// A document.
    pub fn get(&self, id: u64) -> Option<&Document> {
        self.documents.get(&id)
    }

    /// Pays, and tells the service's own log. What people typed goes into fields of their own, in quotation marks and escaped: in the text
    /// itself a line break would make a second line, of their own writing.
    pub fn pay(&self, payment: Payment) {
        let Payment { ledger, amount, payee, .. } = &payment;
        tracing::info!(?ledger, ?amount, ?payee, "paid");
        self.payments.lock().unwrap_or_else(PoisonError::into_inner).push(payment);
    }

    /// What somebody has paid.
    pub fn payments(&self, ledger: Ledger, by: AccountId) -> Vec<Payment> {
        let payments = self.payments.lock().unwrap_or_else(PoisonError::into_inner);
        payments.iter().filter(|paid| paid.ledger == ledger && paid.by == by).cloned().collect()
    }
}

#[cfg(test)]
mod tests {
    use std::io;

    use super::*;

    /// What is logged, as the examples write it.
    #[derive(Clone, Default)]
    struct Log(Arc<Mutex<Vec<u8>>>);

    impl io::Write for Log {
        fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
            self.0.lock().unwrap_or_else(PoisonError::into_inner).extend_from_slice(bytes);
            Ok(bytes.len())
        }

        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }

    #[test]
    fn no_payment_writes_a_second_line_into_the_log() {
        let log = Log::default();
        let writer = log.clone();
        let subscriber =
            tracing_subscriber::fmt().with_ansi(false).with_writer(move || writer.clone()).finish();
        let by = AccountId::from_bytes([1; 16]);
        let forged = "bob\n2026-11-30T20:00:00Z  INFO example_host: paid ledger=Payroll amount=\"9\" \u{1b}[2K\r\u{202e}";
        tracing::subscriber::with_default(subscriber, || {
            let (amount, payee) = ("1\r\n2".to_owned(), forged.to_owned());
            Documents::default().pay(Payment { ledger: Ledger::Transfers, by, amount, payee });
        });
        let log = String::from_utf8_lossy(&log.0.lock().unwrap_or_else(PoisonError::into_inner)).into_owned();
        assert_eq!(log.lines().count(), 1, "{log}");
        assert!(log.trim_end().chars().all(|c| !c.is_control()), "{log:?}");
        assert!(log.contains(r#"paid ledger=Transfers amount="1\r\n2" payee="bob\n2026"#), "{log}");
        assert!(log.contains(r#"amount=\"9\""#), "{log}");
    }
}
