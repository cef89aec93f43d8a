//! How many rows of counted events there may be: whoever has many addresses, or many sessions, has as many keys, and each key is a row.
//!
//! In each window of time a kind of event has a number of rows that say who; what comes then is counted in a few rows that don't. Each
//! process counts for itself, and remembers no more than it lists.

use std::borrow::Cow;
use std::collections::{BTreeMap, HashMap, HashSet};
use std::sync::{Mutex, PoisonError};

use super::{COALESCING_WINDOW, Record};
use crate::base::clock::Timestamp;

/// The rows of one kind that say who, in one window.
pub(crate) const MOST_LISTED: usize = 200;

/// Windows that are remembered: this one, and the one before for those who asked the clock a moment ago.
const WINDOWS: usize = 2;

/// An event by its name, and whether it is about somebody who is known: strangers don't push those out of the list.
type Kind = (Cow<'static, str>, bool);

/// The keys that have rows in one window.
type Listed = HashMap<Kind, HashSet<[u8; 32]>>;

/// The keys that have rows, by the beginning of their window.
#[derive(Debug, Default)]
pub(crate) struct Listing(Mutex<BTreeMap<Timestamp, Listed>>);

impl Listing {
    /// A record as it is to be written: as it is, or counted among the unlisted ones.
    pub(crate) fn bounded(&self, record: Record) -> Record {
        let Some(key) = record.coalesce else { return record };
        let window = record.at.window(COALESCING_WINDOW);
        // Nothing panics while it is held.
        let mut windows = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if !windows.contains_key(&window) {
            while windows.len() >= WINDOWS {
                windows.pop_first();
            }
        }
        let kind = (record.event.clone(), record.account.or(record.actor).is_some());
        let listed = windows.entry(window).or_default().entry(kind).or_default();
        if listed.contains(&key) || (listed.len() < MOST_LISTED && listed.insert(key)) {
            return record;
        }
        drop(windows);
        record.unlisted()
    }
}

#[cfg(test)]
mod tests {
    use std::net::{IpAddr, Ipv6Addr};
    use std::time::Duration;

    use super::*;
    use crate::audit::{Event, LoginFailure, Subject};
    use crate::base::id::AccountId;
    use crate::model::client::Client;

    const NOW: Timestamp = Timestamp::from_micros(1_767_225_600_000_000);

    fn of(network: u16, account: Option<AccountId>, event: &Event, now: Timestamp) -> Record {
        let address = IpAddr::V6(Ipv6Addr::new(0x2001, 0xdb8, 0, network, 0, 0, 0, 1));
        Record::new(event, Subject { account, ..Subject::default() }, &Client::at(address), now)
    }

    /// As many as a /48 has, and then some in each window.
    #[test]
    fn rows_and_memory_are_bounded_whatever_networks_come() {
        let (listing, event) = (Listing::default(), Event::LoginFailed(LoginFailure::UnknownAccount));
        for (window, networks) in (0_u32..).zip([u16::MAX, 1000, 1000, 1000]) {
            let now = NOW.plus(COALESCING_WINDOW * window);
            let mut rows: HashMap<[u8; 32], Record> = HashMap::new();
            for network in 0..networks {
                let record = listing.bounded(of(network, None, &event, now));
                let key = record.coalesce.unwrap();
                rows.entry(key).and_modify(|row| row.count += record.count).or_insert(record);
            }
            assert!(rows.len() <= MOST_LISTED + 16, "{} rows", rows.len());
            assert_eq!(
                rows.values().map(|row| row.count).sum::<u32>(),
                u32::from(networks),
                "all are counted"
            );
            let unlisted = rows.values().filter(|row| row.reason.as_deref() == Some("unlisted"));
            assert!(unlisted.clone().count() > 1 && unlisted.clone().all(|row| row.client.address.is_none()));
        }
        let windows = listing.0.lock().unwrap();
        let kept: usize = windows.values().flat_map(HashMap::values).map(HashSet::len).sum();
        assert!(kept <= WINDOWS * MOST_LISTED, "{kept} keys");
    }

    #[test]
    fn strangers_push_nobody_who_is_known_out_of_the_list() {
        let (listing, event) = (Listing::default(), Event::LimitExceeded("login.account"));
        for network in 0..1000 {
            let _ = listing.bounded(of(network, None, &event, NOW));
        }
        let known = listing.bounded(of(7, Some(AccountId::from_bytes([1; 16])), &event, NOW));
        assert_eq!(known.reason.as_deref(), Some("login.account"));
        // Who is listed stays so, and the next window begins anew.
        assert!(listing.bounded(of(3, None, &event, NOW)).client.address.is_some());
        assert_eq!(listing.bounded(of(999, None, &event, NOW)).client.address, None);
        let later = NOW.plus(Duration::from_mins(10));
        assert!(listing.bounded(of(999, None, &event, later)).client.address.is_some());
    }
}
