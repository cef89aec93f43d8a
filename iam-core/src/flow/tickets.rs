//! Tickets: issued in the unit of what they are for, with what they carry sealed.

use std::time::Duration;

use zeroize::Zeroizing;

use crate::base::id::{AccountId, ParentId, TicketId};
use crate::iam::{Iam, Unit};
use crate::model::error::Error;
use crate::model::ticket::{Ticket, TicketPurpose, TicketToken};
use crate::secrets::seal::Place;
use crate::store::SealedColumn;

/// A ticket to be issued.
pub(super) struct NewTicket<'a> {
    pub(super) purpose: TicketPurpose,
    /// With an account, its token works for that one alone.
    pub(super) account: Option<AccountId>,
    pub(super) parent: Option<ParentId>,
    /// What it carries, in plain.
    pub(super) payload: Option<&'a [u8]>,
    pub(super) lifetime: Duration,
}

impl Iam {
    /// Issues a ticket; an earlier one for the same is void.
    pub(super) async fn issue_ticket(
        &self,
        unit: &mut Unit<'_>,
        new: NewTicket<'_>,
    ) -> Result<TicketToken, Error> {
        let (now, random) = (self.now(), self.randomness());
        let token = TicketToken::generate(random)?;
        let hash = new.account.map_or_else(|| token.hash(), |account| token.hash_for(account));
        let id = TicketId::generate(now, random)?;
        let seal = |plain| self.inner.keys.ring.seal(place(new.account.as_ref(), &id), plain, random);
        let ticket = Ticket {
            id,
            purpose: new.purpose,
            account: new.account,
            parent: new.parent,
            payload: new.payload.map(seal).transpose()?,
            created_at: now,
            expires_at: now.plus(new.lifetime),
        };
        unit.tickets().issue(&hash, &ticket).await?;
        Ok(token)
    }

    /// What a ticket carries, opened. A payload that does not open is none, and the log names it.
    #[expect(dead_code, reason = "no purpose of today carries anything")]
    pub(super) fn ticket_payload(&self, ticket: &Ticket) -> Option<Zeroizing<Vec<u8>>> {
        let sealed = ticket.payload.as_ref()?;
        match self.inner.keys.ring.open(place(ticket.account.as_ref(), &ticket.id), sealed) {
            Ok(payload) => Some(payload),
            Err(error) => {
                tracing::error!(id = %ticket.id, error = &error as &dyn std::error::Error, "a ticket's payload can't be read");
                None
            }
        }
    }
}

fn place<'a>(account: Option<&'a AccountId>, ticket: &'a TicketId) -> Place<'a> {
    const NOBODY: [u8; 16] = [0; 16];
    SealedColumn::TicketPayload.place(account.map_or(&NOBODY, AccountId::as_bytes), ticket.as_bytes())
}
