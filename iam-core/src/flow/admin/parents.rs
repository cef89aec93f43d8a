//! Parents (tenants).

use crate::audit::Event;
use crate::authz::actor::Scope;
use crate::base::id::ParentId;
use crate::base::invalid::{Invalid, Problem};
use crate::iam::Parents;
use crate::model::conflict::{Changing, Conflict};
use crate::model::error::Error;
use crate::model::parent::{Parent, ParentKey, ParentStatus};
use crate::store::{Holders, Inserted};

impl Parents<'_> {
    /// Makes a parent, or gives the one that has the key.
    ///
    /// # Errors
    /// [`Error::Denied`] for an actor that does not administer the platform.
    pub async fn ensure(self, key: &ParentKey) -> Result<ParentId, Error> {
        let Self { iam, actor } = self;
        iam.must_be_platform(actor, "parents.ensure").await?;
        if let Some(parent) = iam.inner.store.reader().await?.parents().by_key(key).await? {
            return Ok(parent.id);
        }
        let now = iam.now();
        let parent = Parent::new(ParentId::generate(now, iam.randomness())?, key.clone());
        iam.retried(|| async {
            let mut unit = iam.begin().await?;
            if unit.parents().insert(&parent, now).await? != Inserted::Done {
                drop(unit);
                let parent = iam.inner.store.reader().await?.parents().by_key(key).await?;
                return parent.map(|parent| parent.id).ok_or(Conflict::Changed(Changing::Parent).into());
            }
            let event = Event::ParentCreated(parent.id, key.to_string());
            unit.record(&event, actor.in_parent(parent.id), actor.client()).await?;
            unit.commit().await?;
            Ok(parent.id)
        })
        .await
    }

    /// A parent by key, if the actor administers it.
    pub async fn by_key(self, key: &ParentKey) -> Result<Option<Parent>, Error> {
        let found = self.iam.inner.store.reader().await?.parents().by_key(key).await?;
        Ok(found.filter(|parent| match self.actor.scope() {
            Scope::Platform => true,
            Scope::Parent(own) => own == parent.id,
            Scope::Nothing => false,
        }))
    }

    /// Lets the accounts of a parent be used, or not, from the next request on.
    ///
    /// # Errors
    /// [`Error::Denied`] for an actor that does not administer the platform; [`Error::Conflict`] when the status is not `from`, and for the
    /// parent of the last administrators of the platform: make another one first; [`Error::Invalid`] for [`ParentStatus::Unknown`].
    pub async fn set_status(
        self,
        parent: ParentId,
        from: ParentStatus,
        to: ParentStatus,
    ) -> Result<(), Error> {
        let Self { iam, actor } = self;
        iam.must_be_platform(actor, "parents.set_status").await?;
        if to == ParentStatus::Unknown {
            return Err(Invalid::new("status", Problem::Malformed).into());
        }
        let platform = if to == ParentStatus::Active { None } else { iam.platform_role().await? };
        iam.retried(|| async {
            let mut unit = iam.begin().await?;
            iam.leave_an_administrator(&mut unit, platform.as_ref(), Holders::Parent(parent)).await?;
            if !unit.parents().set_status(parent, from, to, iam.now()).await? {
                return Err(Conflict::Changed(Changing::Parent).into());
            }
            let event = Event::ParentStatusChanged(parent, from.as_str(), to.as_str());
            unit.record(&event, actor.in_parent(parent), actor.client()).await?;
            Ok(unit.commit().await?)
        })
        .await
    }
}
