//! Changing the key that seals (`MFA_ENCRYPTION_KEY`), for whoever runs the service: `rotate-keys`, `retire-key`.

#![expect(clippy::print_stderr, reason = "it answers whoever asked, whatever the log's filter says")]

use std::error::Error;
use std::time::Duration;

use iam_core::{Actor, Iam, KeyInUse, Retirement};

/// How often it says how far it has come.
const SAY_EVERY: Duration = Duration::from_secs(1);

/// Seals everything anew that is not under the first key, then says which keys are in use, and by what. It may be interrupted and
/// called again; called when there is nothing to do, it is a look at the keys.
pub(crate) async fn rotate(iam: &Iam) -> Result<(), Box<dyn Error>> {
    let actor = Actor::service();
    let mut resealing = iam.keys(&Actor::service()).resealing().await?;
    let (all, mut said_at) = (resealing.left(), iam.now());
    while resealing.is_more_waiting() {
        iam.keys(&actor).reseal(&mut resealing).await?;
        if all > 0 && iam.now().since(said_at) >= SAY_EVERY {
            said_at = iam.now();
            eprintln!("{} of {} ...", grouped(resealing.done), grouped(all));
        }
    }
    eprintln!("{} values were sealed anew.", grouped(resealing.done));
    for key in iam.keys(&Actor::service()).in_use().await? {
        eprintln!("{}", described(&key));
    }
    let left = resealing.left();
    if left > resealing.unreadable {
        return Err("something was sealed under another key meanwhile: are all processes started with the new one in front? \
                    Then do this again"
            .into());
    }
    if left > 0 {
        return Err(format!(
            "{left} values don't open; the log names each. No key under which one lies can be retired"
        )
        .into());
    }
    Ok(())
}

/// Lets the service start without a key from now on, if nothing is sealed under it.
pub(crate) async fn retire(iam: &Iam, id: Option<&str>) -> Result<(), Box<dyn Error>> {
    let id = id.ok_or("retire-key: which? Give its number in MFA_ENCRYPTION_KEY")?;
    let id: u32 = id.parse().map_err(|_| format!("retire-key: `{id}` is no number of a key"))?;
    match iam.keys(&Actor::service()).retire(id).await? {
        Retirement::Retired => {
            eprintln!("Key {id} is not needed any more: take it out of MFA_ENCRYPTION_KEY.");
            Ok(())
        }
        Retirement::Unknown => {
            eprintln!("Key {id} was not needed.");
            Ok(())
        }
        Retirement::Seals => {
            Err(format!("key {id} seals: put another one in front, and start every process with it").into())
        }
        Retirement::InUse => {
            Err(format!("values are sealed under key {id}: `rotate-keys` seals them anew").into())
        }
        other => Err(format!("key {id}: {other:?}").into()),
    }
}

fn described(key: &KeyInUse) -> String {
    let name = key.id.map_or("no key".to_owned(), |id| format!("key {id}"));
    let role = match (key.seals, key.is_given, key.is_needed) {
        (true, ..) => " (it seals)",
        (false, false, _) => " (not in MFA_ENCRYPTION_KEY)",
        (false, true, true) => " (needed until it is retired)",
        (false, true, false) => "",
    };
    let values: Vec<_> = key
        .values
        .iter()
        .map(|(column, count)| format!("{} in {}.{}", grouped(*count), column.table(), column.column()))
        .collect();
    let values = if values.is_empty() { "nothing".to_owned() } else { values.join(", ") };
    format!("  {name}{role}: {values}")
}

/// `1 234 567`.
fn grouped(number: u64) -> String {
    let digits = number.to_string();
    let mut text = String::new();
    for (n, digit) in digits.chars().enumerate() {
        if n > 0 && (digits.len() - n).is_multiple_of(3) {
            text.push(' ');
        }
        text.push(digit);
    }
    text
}

#[cfg(test)]
mod tests {
    use super::grouped;

    #[test]
    fn large_numbers_can_be_read() {
        let shown = [0, 12, 123, 1234, 123_456, 1_234_567].map(grouped);
        assert_eq!(shown, ["0", "12", "123", "1 234", "123 456", "1 234 567"]);
    }
}
