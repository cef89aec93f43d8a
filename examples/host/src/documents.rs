//! The host's own data: documents that belong to parents.

use std::collections::BTreeMap;
use std::sync::Arc;

use iam_core::flow::Actor;
use iam_core::id::ParentId;
use iam_core::parent::ParentKey;
use iam_core::{Error, Iam};

/// A handful of documents, in memory.
#[derive(Clone, Debug, Default)]
pub struct Documents(Arc<BTreeMap<u64, Document>>);

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
        Ok(Self(Arc::new(documents)))
    }

    /// A document.
    pub fn get(&self, id: u64) -> Option<&Document> {
        self.0.get(&id)
    }
}
