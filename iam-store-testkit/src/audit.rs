//! The audit log.

use iam_core::ports::Record;
use iam_core::{Entry, Outcome};

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

async fn entries(store: &dyn Store) -> Vec<Entry> {
    store.reader().await.unwrap().audit().entries(None, 1000).await.unwrap()
}

pub async fn a_record_is_kept(store: &dyn Store) {
    let mut full = record(0);
    full.last_at = after(7);
    full.count = 3;
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
    count_all(store, &[repeated(1, 5, 40), repeated(1, 3, 2), repeated(2, 9, 1)]).await;
    count_all(store, &[]).await;
    let all = entries(store).await;
    let shown: Vec<_> =
        all.iter().map(|Entry { record, .. }| (record.count, record.at, record.last_at)).collect();
    assert_eq!(shown, [(1, after(9), after(9)), (43, NOW, after(5))]);
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
    let mut unit = store.begin().await.unwrap();
    assert_eq!(unit.audit().delete_before(after(9), 10).await.unwrap(), 2);
    unit.commit().await.unwrap();
    append(store, &record(2)).await;
    assert!(entries(store).await[0].id > highest, "no id comes twice, even when its row is gone");
}

pub async fn delete_before_removes_the_oldest(store: &dyn Store) {
    for secs in [3, 1, 2, 4] {
        append(store, &record(secs)).await;
    }
    let mut done = Vec::new();
    for (before, most) in [(1, 9), (4, 2), (4, 9), (4, 9)] {
        let mut unit = store.begin().await.unwrap();
        done.push(unit.audit().delete_before(after(before), most).await.unwrap());
        unit.commit().await.unwrap();
    }
    assert_eq!(done, [0, 2, 1, 0]);
    let left: Vec<_> = entries(store).await.into_iter().map(|entry| entry.record.at).collect();
    assert_eq!(left, [after(4)]);
}

pub async fn what_many_cause_at_once_is_counted_to_the_last(stores: &Handles) {
    race(stores, |store, _| async move { count_all(store.as_ref(), &[repeated(1, 0, 1)]).await }).await;
    let all = entries(stores[0].as_ref()).await;
    assert_eq!(all.iter().map(|entry| entry.record.count).collect::<Vec<_>>(), [u32::from(TASKS)]);
}
