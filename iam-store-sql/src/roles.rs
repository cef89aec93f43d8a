//! `iam_role` and `iam_user_role`.

use iam_core::ports::RoleOfAccount;
use iam_core::{Role, RoleId, RoleName, StoreError};

use crate::{Column, Dialect};

const fn column(name: &'static str) -> Column {
    Column("iam_role", name)
}

/// A row of `iam_role`.
#[expect(missing_docs, missing_debug_implementations, reason = "columns, some of them secret")]
pub struct RoleRow<D: Dialect> {
    pub id: Vec<u8>,
    pub name: D::Text,
    pub description: String,
    pub factor_required_at: Option<D::Time>,
    pub factor_grace: Option<i64>,
}

impl<D: Dialect> RoleRow<D> {
    /// The role.
    pub fn read(self) -> Result<Role, StoreError> {
        let name = column("name").parsed(self.name, |name| RoleName::parse(name).ok())?;
        let mut role = Role::new(RoleId::from_bytes(column("id").id(&self.id)?), name);
        role.description = self.description;
        role.factor_required = column("factor_grace")
            .requirement(self.factor_required_at.map(D::timestamp), self.factor_grace)?;
        Ok(role)
    }
}

/// A row of `iam_user_role` with the role's.
#[expect(missing_docs, missing_debug_implementations, reason = "columns, some of them secret")]
pub struct RoleOfAccountRow<D: Dialect> {
    pub name: D::Text,
    pub granted_at: D::Time,
    pub expires_at: Option<D::Time>,
    pub factor_required_at: Option<D::Time>,
    pub factor_grace: Option<i64>,
}

impl<D: Dialect> RoleOfAccountRow<D> {
    /// The role as an account holds it.
    pub fn read(self) -> Result<RoleOfAccount, StoreError> {
        Ok(RoleOfAccount {
            name: column("name").parsed(self.name, |name| RoleName::parse(name).ok())?,
            granted_at: D::timestamp(self.granted_at),
            expires_at: self.expires_at.map(D::timestamp),
            factor_required: column("factor_grace")
                .requirement(self.factor_required_at.map(D::timestamp), self.factor_grace)?,
        })
    }
}
