//! The audit log.

use iam_core::ports::Record;
use iam_core::{Entry, Outcome, Target};

use super::*;

fn record(secs: u64) -> Record {
    Record::at(after(secs), "authz_fail", Outcome::Denied)
}

/// A record of a kind that is counted.
fn repeated(kind: u8, secs: u64, count: u32) -> Record {
    let mut record = record(secs);
    record.coalesce = Some([kind; 32]);
    record.count = count;
    record
}

async fn append(store: &dyn Store, record: &Record) {
    append_all(store, std::slice::from_ref(record)).await;
}

async fn append_all(store: &dyn Store, records: &[Record]) {
    let mut unit = store.begin().await.unwrap();
    unit.audit().append_all(records).await.unwrap();
    unit.commit().await.unwrap();
}

async fn count_all(store: &dyn Store, records: &[Record]) {
    let mut unit = store.begin().await.unwrap();
    unit.audit().count_all(records).await.unwrap();
    unit.commit().await.unwrap();
}

async fn counts(store: &dyn Store) -> Vec<Record> {
    store.reader().await.unwrap().audit().counts(1000).await.unwrap()
}

async fn take_counts(store: &dyn Store, before: Timestamp, most: u32) -> Vec<Record> {
    let mut unit = store.begin().await.unwrap();
    let taken = unit.audit().take_counts(before, most).await.unwrap();
    unit.commit().await.unwrap();
    taken
}

async fn delete_before(store: &dyn Store, before: Timestamp, most: u32) -> u64 {
    let mut unit = store.begin().await.unwrap();
    let deleted = unit.audit_retention().delete_before(before, most).await.unwrap();
    unit.commit().await.unwrap();
    deleted
}

async fn entries(store: &dyn Store) -> Vec<Entry> {
    store.reader().await.unwrap().audit().entries(None, 1000).await.unwrap()
}

pub async fn a_record_is_kept(store: &dyn Store) {
    let mut full = record(0);
    full.last_at = after(7);
    full.count = 3;
    full.target = Some(Target::new("of a newer program", "\u{e9}t\u{e9}"));
    full.reason = Some("any of admin, \u{e9}\u{1f600}".to_owned());
    full.actor = Some(account_id(1));
    full.account = Some(account_id(2));
    full.parent = Some(ParentId::from_bytes([3; 16]));
    full.session = Some(session_id(4));
    full.amr = Some("pwd otp".to_owned());
    full.identifier = Some("0123456789abcdef".to_owned());
    full.client = Client::at("2001:db8::1".parse().unwrap()).user_agent(b"test").request_id("r-1");
    append(store, &full).await;
    append(store, &record(1)).await;
    let kept: Vec<Record> = entries(store).await.into_iter().map(|entry| entry.record).collect();
    assert_eq!(kept, [record(1), full], "newest first");
}

pub async fn entries_come_newest_first_and_in_pages(store: &dyn Store) {
    for secs in 0..5 {
        append(store, &record(secs)).await;
    }
    let all = entries(store).await;
    assert_eq!(all.iter().map(|entry| entry.record.at).collect::<Vec<_>>(), [4, 3, 2, 1, 0].map(after));
    let page = store.reader().await.unwrap().audit().entries(None, 2).await.unwrap();
    assert_eq!(page, all[..2]);
    let page = store.reader().await.unwrap().audit().entries(Some(page[1].id), 2).await.unwrap();
    assert_eq!(page, all[2..4]);
    assert_eq!(store.reader().await.unwrap().audit().entries(Some(all[4].id), 2).await.unwrap(), []);
    assert_eq!(store.reader().await.unwrap().audit().entries(Some(u64::MAX), 9).await.unwrap(), all);
}

pub async fn a_record_with_a_known_key_adds_to_its_row(store: &dyn Store) {
    count_all(store, &[repeated(1, 0, 1)]).await;
    let mut many: Vec<Record> = (0..20).map(|n| repeated(100 + n, 1, 1)).collect();
    many.extend([repeated(1, 5, 40), repeated(1, 3, 2), repeated(2, 9, 1)]);
    count_all(store, &many).await;
    count_all(store, &[]).await;
    let all = counts(store).await;
    assert_eq!(all.len(), 22);
    let shown = |record: &Record| (record.count, record.at, record.last_at);
    assert_eq!(shown(&all[0]), (1, after(9), after(9)), "those that began last first");
    assert_eq!(shown(all.last().unwrap()), (43, NOW, after(5)));
    assert_eq!(store.reader().await.unwrap().audit().counts(2).await.unwrap(), all[..2]);
    assert_eq!(entries(store).await, [], "the trail only grows: what may still change is beside it");
}

pub async fn counts_are_taken_once_and_the_oldest_first(store: &dyn Store) {
    let mut full = repeated(1, 2, 7);
    full.last_at = after(5);
    full.target = Some(Target::new(Target::ROLE, "admin"));
    full.reason = Some("role admin".to_owned());
    full.account = Some(account_id(2));
    full.client = Client::at("192.0.2.1".parse().unwrap()).user_agent(b"test").request_id("r-1");
    count_all(store, &[full.clone(), repeated(2, 1, 3), repeated(3, 8, 1), repeated(4, 0, 1)]).await;
    full.coalesce = None;
    let plain = |secs, count| {
        let mut plain = repeated(0, secs, count);
        plain.coalesce = None;
        plain
    };
    assert_eq!(take_counts(store, after(8), 2).await, [plain(0, 1), plain(1, 3)]);
    assert_eq!(take_counts(store, after(8), 9).await, [full]);
    assert_eq!(take_counts(store, after(8), 9).await, []);
    // A late one of a kind that was taken is one of its own.
    count_all(store, &[repeated(2, 1, 4)]).await;
    assert_eq!(take_counts(store, after(8), 9).await, [plain(1, 4)]);
    assert_eq!(counts(store).await, [plain(8, 1)]);
}

pub async fn counts_of_a_unit_that_is_dropped_stay(store: &dyn Store) {
    count_all(store, &[repeated(1, 0, 3)]).await;
    let mut unit = store.begin().await.unwrap();
    assert_eq!(unit.audit().take_counts(after(9), 9).await.unwrap().len(), 1);
    drop(unit);
    assert_eq!(counts(store).await[0].count, 3);
}

/// Also of more than one statement takes.
pub async fn records_of_a_unit_are_kept_in_their_order(store: &dyn Store) {
    let mut records: Vec<Record> = (0..70).map(record).collect();
    records[5].reason = Some("five".to_owned());
    records[6].account = Some(account_id(6));
    append_all(store, &[]).await;
    append_all(store, &records).await;
    let kept: Vec<Record> = entries(store).await.into_iter().rev().map(|entry| entry.record).collect();
    assert_eq!(kept, records);
}

pub async fn records_without_a_key_never_share_a_row(store: &dyn Store) {
    for _ in 0..3 {
        append(store, &record(0)).await;
    }
    assert_eq!(entries(store).await.len(), 3);
}

pub async fn ids_rise_above_all_that_ever_were(store: &dyn Store) {
    append(store, &record(0)).await;
    append(store, &record(1)).await;
    let highest = entries(store).await[0].id;
    assert_eq!(delete_before(store, after(9), 10).await, 2);
    append(store, &record(2)).await;
    assert!(entries(store).await[0].id > highest, "no id comes twice, even when its row is gone");
}

pub async fn delete_before_removes_the_oldest_and_leaves_no_hole(store: &dyn Store) {
    for secs in [3, 1, 2, 8, 4, 9] {
        append(store, &record(secs)).await;
    }
    let mut done = Vec::new();
    for (before, most) in [(1, 9), (4, 2), (5, 9), (5, 9)] {
        done.push(delete_before(store, after(before), most).await);
    }
    assert_eq!(done, [0, 2, 1, 0]);
    let left =
        async || entries(store).await.into_iter().rev().map(|entry| entry.record.at).collect::<Vec<_>>();
    assert_eq!(left().await, [8, 4, 9].map(after), "what is behind one that is kept is kept with it");
    assert_eq!(delete_before(store, after(9), 9).await, 2);
    assert_eq!(left().await, [after(9)]);
}

pub async fn what_many_cause_at_once_is_counted_to_the_last(stores: &Handles) {
    race(stores, |store, _| async move { count_all(store.as_ref(), &[repeated(1, 0, 1)]).await }).await;
    let all = counts(stores[0].as_ref()).await;
    assert_eq!(all.iter().map(|record| record.count).collect::<Vec<_>>(), [u32::from(TASKS)]);
}

/// Whoever counts and whoever brings it into the trail at the same time lose nothing and count nothing twice.
pub async fn what_is_counted_beside_those_who_take_it_is_not_lost(stores: &Handles) {
    race(stores, |store, n| async move {
        if n % 4 > 0 {
            return retried(async || {
                let mut unit = store.begin().await?;
                unit.audit().count_all(&[repeated(1, 0, 1)]).await?;
                unit.commit().await
            })
            .await;
        }
        retried(async || {
            let mut unit = store.begin().await?;
            let taken = unit.audit().take_counts(after(1), 9).await?;
            unit.audit().append_all(&taken).await?;
            unit.commit().await
        })
        .await;
    })
    .await;
    let store = stores[0].as_ref();
    let open: u32 = counts(store).await.iter().map(|record| record.count).sum();
    let closed: u32 = entries(store).await.iter().map(|entry| entry.record.count).sum();
    assert_eq!(open + closed, u32::from(TASKS) / 4 * 3);
}
