//! `iam_auth_session`.

use iam_core::ports::{
    AuthVersion, ParentOfAccount, Proofs, RoleOfAccount, SessionRecord, SessionState, TokenHash, Tokens,
};
use iam_core::{
    AccountId, AccountStatus, Client, EndReason, ExternalId, ParentId, ParentKey, ParentStatus, RoleName,
    SessionId, SessionSummary, StoreError, Username,
};

use crate::{Column, Dialect};

const fn column(name: &'static str) -> Column {
    Column("iam_auth_session", name)
}

const fn account(name: &'static str) -> Column {
    Column("iam_user_account", name)
}

/// A row of the guard's read: a session with its account, parent and one of its roles. Of no session, all is NULL.
#[expect(missing_docs, missing_debug_implementations, reason = "columns, some of them secret")]
pub struct SessionRow<D: Dialect> {
    /// Whether its server is one that can't write any more, so that the row does not count.
    pub fenced: bool,
    pub id: Option<Vec<u8>>,
    pub state: Option<String>,
    pub auth_version: Option<i64>,
    pub proofs: Option<String>,
    pub login_time: Option<D::Time>,
    pub last_seen_at: Option<D::Time>,
    pub long_lived: Option<bool>,
    pub lapsed_at: Option<D::Time>,
    pub token_hash: Option<Vec<u8>>,
    pub previous_token_hash: Option<Vec<u8>>,
    pub token_made_at: Option<D::Time>,
    pub token_used_at: Option<D::Time>,
    pub ended_at: Option<D::Time>,
    pub end_reason: Option<String>,
    pub account_id: Option<Vec<u8>>,
    pub username: Option<D::Text>,
    pub external_id: Option<D::Text>,
    pub account_status: Option<String>,
    pub account_auth_version: Option<i64>,
    pub account_created_at: Option<D::Time>,
    pub parent_id: Option<Vec<u8>>,
    pub parent_key: Option<D::Text>,
    pub parent_status: Option<String>,
    pub parent_factor_required_at: Option<D::Time>,
    pub parent_factor_grace: Option<i64>,
    pub role: Option<D::Text>,
    pub role_granted_at: Option<D::Time>,
    pub role_expires_at: Option<D::Time>,
    pub role_factor_required_at: Option<D::Time>,
    pub role_factor_grace: Option<i64>,
}

/// The session of the guard's read, from its rows: one for each role.
pub fn session<D: Dialect>(rows: Vec<SessionRow<D>>) -> Result<Option<SessionRecord>, StoreError> {
    let mut rows = rows.into_iter();
    let Some(mut first) = rows.next().filter(|row| row.id.is_some()) else { return Ok(None) };
    let mut roles = Vec::new();
    roles.extend(first.take_role()?);
    for mut row in rows {
        roles.extend(row.take_role()?);
    }
    let record = first.read()?;
    Ok(Some(SessionRecord { roles, ..record }))
}

impl<D: Dialect> SessionRow<D> {
    fn take_role(&mut self) -> Result<Option<RoleOfAccount>, StoreError> {
        let Some(name) = self.role.take() else { return Ok(None) };
        let granted_at = Column("iam_user_role", "granted_at").needed(self.role_granted_at)?;
        Ok(Some(RoleOfAccount {
            name: Column("iam_role", "name").parsed(name, |name| RoleName::parse(name).ok())?,
            granted_at: D::timestamp(granted_at),
            expires_at: self.role_expires_at.map(D::timestamp),
            factor_required: Column("iam_role", "factor_grace")
                .requirement(self.role_factor_required_at.map(D::timestamp), self.role_factor_grace)?,
        }))
    }

    fn take_parent(&mut self) -> Result<Option<ParentOfAccount>, StoreError> {
        let parent = |name| Column("iam_parent", name);
        let Some(id) = parent("id").maybe_id(self.parent_id.as_deref())? else { return Ok(None) };
        let key = parent("key").needed(self.parent_key.take())?;
        let status = parent("status").needed(self.parent_status.take())?;
        Ok(Some(ParentOfAccount {
            id: ParentId::from_bytes(id),
            key: parent("key").parsed(key, |key| ParentKey::parse(key).ok())?,
            status: ParentStatus::from_stored(&status),
            factor_required: parent("factor_grace")
                .requirement(self.parent_factor_required_at.map(D::timestamp), self.parent_factor_grace)?,
        }))
    }

    fn tokens(&self) -> Result<Tokens, StoreError> {
        let hash = |name, value: &Option<Vec<u8>>| {
            Ok::<_, StoreError>(column(name).maybe_digest(value.as_deref())?.map(TokenHash::from_bytes))
        };
        Ok(Tokens::new(
            hash("token_hash", &self.token_hash)?,
            hash("previous_token_hash", &self.previous_token_hash)?,
            D::timestamp(column("login_time").needed(self.login_time)?),
            self.token_made_at.map(D::timestamp),
            self.token_used_at.map(D::timestamp),
        ))
    }

    /// The session, without its roles.
    fn read(mut self) -> Result<SessionRecord, StoreError> {
        let parent = self.take_parent()?;
        let tokens = self.tokens()?;
        let state = column("state").needed(self.state)?;
        let username = account("username").needed(self.username)?;
        let external_id = self.external_id.map(|bytes| account("external_id").text(bytes)).transpose()?;
        // An end without a readable reason is still no session that lives.
        let reason = EndReason::parse(self.end_reason.as_deref().unwrap_or_default());
        Ok(SessionRecord {
            id: SessionId::from_bytes(column("id").id(&column("id").needed(self.id)?)?),
            state: column("state").parsed(state, SessionState::parse)?,
            auth_version: AuthVersion::from_i64(column("auth_version").needed(self.auth_version)?),
            proofs: Proofs::parse(&column("proofs").needed(self.proofs)?),
            login_at: D::timestamp(column("login_time").needed(self.login_time)?),
            last_seen_at: D::timestamp(column("last_seen_at").needed(self.last_seen_at)?),
            long: self.long_lived == Some(true),
            lapsed_at: self.lapsed_at.map(D::timestamp),
            tokens,
            ended: self.ended_at.map(|at| (D::timestamp(at), reason)),
            account: AccountId::from_bytes(
                column("account_id").id(&column("account_id").needed(self.account_id)?)?,
            ),
            username: Username::from_stored(account("username").text(username)?),
            external_id: external_id.map(ExternalId::from_stored),
            account_status: AccountStatus::from_stored(&account("status").needed(self.account_status)?),
            account_auth_version: AuthVersion::from_i64(
                account("auth_version").needed(self.account_auth_version)?,
            ),
            account_created_at: D::timestamp(account("created_at").needed(self.account_created_at)?),
            parent,
            roles: Vec::new(),
        })
    }
}

/// A row of `iam_auth_session` as its owner sees it in a list.
#[expect(missing_docs, missing_debug_implementations, reason = "columns, some of them secret")]
pub struct SummaryRow<D: Dialect> {
    pub id: Vec<u8>,
    pub login_time: D::Time,
    pub proofs: String,
    pub last_seen_at: D::Time,
    pub long_lived: bool,
    pub lapsed_at: Option<D::Time>,
    pub client_address: Option<String>,
    pub user_agent: Option<String>,
}

impl<D: Dialect> SummaryRow<D> {
    /// The session in a list.
    pub fn read(self) -> Result<SessionSummary, StoreError> {
        let mut client = Client::default();
        let parse = |text: String| column("client_address").parsed(text, |text| text.parse().ok());
        client.address = self.client_address.map(parse).transpose()?;
        client.user_agent = self.user_agent;
        Ok(SessionSummary {
            id: SessionId::from_bytes(column("id").id(&self.id)?),
            login_at: D::timestamp(self.login_time),
            proofs: Proofs::parse(&self.proofs),
            last_seen_at: D::timestamp(self.last_seen_at),
            lapsed_at: self.lapsed_at.map(D::timestamp),
            long: self.long_lived,
            client,
        })
    }
}

/// The ids of a session and of its account.
#[expect(missing_docs, missing_debug_implementations, reason = "columns, some of them secret")]
pub struct SessionOfRow {
    pub id: Vec<u8>,
    pub account_id: Vec<u8>,
}

impl SessionOfRow {
    /// Both ids.
    pub fn read(&self) -> Result<(SessionId, AccountId), StoreError> {
        let (id, account) = (column("id").id(&self.id)?, column("account_id").id(&self.account_id)?);
        Ok((SessionId::from_bytes(id), AccountId::from_bytes(account)))
    }
}
