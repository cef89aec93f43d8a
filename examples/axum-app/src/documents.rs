//! The host's own data: documents that belong to parents.

use std::collections::BTreeMap;
use std::convert::Infallible;
use std::sync::Arc;

use axum::extract::{Path, State};
use iam_axum::flow::Actor;
use iam_axum::parent::ParentKey;
use iam_axum::{Error, Iam, ParentId};

/// A handful of documents, in memory.
#[derive(Clone, Debug)]
pub struct Documents(Arc<BTreeMap<u64, Document>>);

/// A document.
#[derive(Debug)]
pub(crate) struct Document {
    pub(crate) title: String,
    parent: ParentId,
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

    pub(crate) fn get(&self, id: u64) -> Option<&Document> {
        self.0.get(&id)
    }
}

/// What `requires_parent` asks: whose document is it? A missing one is nobody's.
pub(crate) async fn document_parent(
    State(documents): State<Documents>,
    Path(id): Path<u64>,
) -> Result<Option<ParentId>, Infallible> {
    Ok(documents.get(id).map(|document| document.parent))
}
