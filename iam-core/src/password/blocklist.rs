//! Passwords that are guessed first: common ones, and those made of what everybody knows about an account.
//!
//! A password is compared **whole and in its canonical form**: NFC, every character folded (to upper case, then to lower
//! case), NFC again. That a forbidden word stands somewhere in a longer password is no reason to refuse it.
//!
//! What is refused as common:
//! - a word of the list (`common.txt`, or a host's own), any number of times, together with *runs* in any order, with separators between
//!   and up to four digits or signs behind: `passwordpassword`, `iloveyou-12345678`, `2024dragondragon!`;
//! - runs alone: `123456789012345`, `qwertyuiopasdfg`, `1qaz2wsx3edc4rfv`, `aaabbbcccdddeee`, `abcdefghijklmno`;
//! - up to five characters over and over: `aaaaaaaaaaaaaaa`, `xyxyxyxyxyxyxyx`.
//!
//! A run is three or more characters that lie beside each other in a row or column of a keyboard or in the alphabet, forwards or
//! backwards, or that are the same; or a year. What is refused as made of the account's context is the same with the words
//! of the context, of which several may come together.
//!
//! Rules make of the thousand words some hundred thousand passwords of fifteen characters or more, and as many of eight or
//! more: the same list serves any least length. They end at 63 characters, which no list of guesses reaches.

use std::collections::HashSet;
use std::sync::LazyLock;

use unicode_normalization::UnicodeNormalization;
use zeroize::Zeroizing;

/// Beyond this many characters nothing is looked at.
const MAX_CHARS: usize = 63;
/// The shortest run.
const MIN_RUN: usize = 3;
/// The most digits or signs that are taken for an ornament at the end.
const MAX_ORNAMENT: usize = 4;
/// The longest piece that makes a password common by being repeated alone, whatever it is ...
const MAX_PERIOD: usize = 5;
/// ... and how often it must come.
const MIN_REPEATS: usize = 3;
/// The shortest word that is looked for. Shorter ones fall to the rules when they are repeated.
const MIN_WORD: usize = 3;

/// Rows, columns and zigzags of keyboards. Signs on the digits' keys count as the digits.
const LINES: &[&str] = &[
    "12345678901234567890",
    "abcdefghijklmnopqrstuvwxyzabcdefghijklmnopqrstuvwxyz",
    // QWERTY, QWERTZ and AZERTY; the row's end joins its beginning.
    "qwertyuiopqwertyuiop",
    "asdfghjkl;'",
    "asdfghjklasdfghjkl",
    "zxcvbnm,./",
    "zxcvbnmzxcvbnm",
    "qwertzuiop",
    "yxcvbnm",
    "azertyuiop",
    "qsdfghjklm",
    "wxcvbn",
    // Columns, and from one into the next.
    "1qaz2wsx3edc4rfv5tgb6yhn7ujm8ik,9ol.0p;/",
    "qazwsxedcrfvtgbyhnujmik,ol.p;/",
    "1qazxsw23edcvfr45tgbnhy67ujm,ki89ol./;p0",
    "qazxswedcvfrtgbnhyujm",
    "1qa2ws3ed4rf5tg6yh7uj8ik9ol0p",
    // Two rows in turn.
    "1q2w3e4r5t6y7u8i9o0p",
    "q1w2e3r4t5y6u7i8o9p0",
    "q2w3e4r5t6y7u8i9o0p",
    "qawsedrftgyhujikolp",
    "azsxdcfvgbhnjmk,l.",
    "1a2s3d4f5g6h7j8k9l0",
    "a1s2d3f4g5h6j7k8l9",
    "1z2x3c4v5b6n7m",
    "z1x2c3v4b5n6m7",
    "1a2b3c4d5e6f7g8h9i0j",
    "a1b2c3d4e5f6g7h8i9j0",
    "112233445566778899001122",
    "aabbccddeeffgghhiijjkkllmmnnooppqqrrssttuuvvwwxxyyzz",
    "qqwweerrttyyuuiioopp",
    "147258369147258369",
    "159357456258",
    "789456123789456123",
];

static WORDS: LazyLock<HashSet<&'static str>> = LazyLock::new(|| {
    let lines = include_str!("common.txt").lines().filter(|line| !line.starts_with('#'));
    lines.flat_map(str::split_whitespace).collect()
});

/// Text in the form in which passwords and words are compared.
#[derive(Clone)]
pub(super) struct Canonical(Zeroizing<String>);

impl Canonical {
    pub(super) fn of(text: &str) -> Self {
        // Reserved at once, so that no half-grown copy stays behind in freed memory.
        let mut folded = Zeroizing::new(String::with_capacity(text.len() * 6));
        folded.extend(text.nfc().flat_map(char::to_uppercase).flat_map(char::to_lowercase));
        let mut canonical = Zeroizing::new(String::with_capacity(folded.len() * 3));
        canonical.extend(folded.nfc());
        Self(canonical)
    }

    pub(super) fn as_str(&self) -> &str {
        &self.0
    }
}

/// Whether a password is common, or made of a common word or one of the host's (in canonical form).
pub(super) fn is_common(password: &Canonical, own: &HashSet<String>) -> bool {
    if WORDS.contains(password.as_str()) || own.contains(password.as_str()) {
        return true;
    }
    let Some(pattern) = Pattern::of(password) else { return false };
    if pattern.is_periodic() || pattern.is_made_of(&|_| false) {
        return true;
    }
    // One word only: several different ones in a row are what pass phrases are made of.
    let mut words: Vec<&str> =
        pattern.parts().filter(|part| WORDS.contains(part) || own.contains(*part)).collect();
    words.sort_unstable();
    words.dedup();
    words.into_iter().any(|word| pattern.is_made_of(&|part| part == word))
}

/// Whether a password is made of these words (in canonical form), of one or several.
pub(super) fn is_made_of(password: &Canonical, words: &HashSet<String>) -> bool {
    let long_enough = |word: &str| word.chars().nth(MIN_WORD - 1).is_some();
    if words.contains(password.as_str()) && long_enough(password.as_str()) {
        return true;
    }
    Pattern::of(password).is_some_and(|pattern| {
        pattern.parts().any(|part| words.contains(part))
            && pattern.is_made_of(&|part| long_enough(part) && words.contains(part))
    })
}

/// A password, ready to be taken to pieces.
struct Pattern<'p> {
    text: &'p str,
    chars: Zeroizing<Vec<char>>,
    /// Where each character begins, and where the last one ends.
    bounds: Vec<usize>,
    /// How long a run begins at each character.
    runs: Vec<usize>,
}

impl<'p> Pattern<'p> {
    fn of(password: &'p Canonical) -> Option<Self> {
        let text = password.as_str();
        let chars = Zeroizing::new(text.chars().collect::<Vec<_>>());
        let mut bounds: Vec<usize> = text.char_indices().map(|(start, _)| start).collect();
        bounds.push(text.len());
        if !(1..=MAX_CHARS).contains(&chars.len()) {
            return None;
        }
        let runs =
            (0..chars.len()).map(|start| longest_run(chars.get(start..).unwrap_or_default())).collect();
        Some(Self { text, chars, bounds, runs })
    }

    fn part(&self, start: usize, end: usize) -> &'p str {
        let bound = |n: usize| self.bounds.get(n).copied().unwrap_or_default();
        self.text.get(bound(start)..bound(end)).unwrap_or_default()
    }

    /// Everything that might be a word.
    fn parts(&self) -> impl Iterator<Item = &'p str> {
        let length = self.chars.len();
        (0..length).flat_map(move |start| (start + MIN_WORD..=length).map(move |end| self.part(start, end)))
    }

    /// A few characters over and over; the last time may be cut. Of what is on every keyboard: lists of guesses have no more.
    fn is_periodic(&self) -> bool {
        let length = self.chars.len();
        let repeats =
            |period: usize| self.chars.iter().zip(self.chars.iter().skip(period)).all(|(a, b)| a == b);
        self.chars.iter().all(char::is_ascii)
            && (1..=MAX_PERIOD).any(|period| length >= period * MIN_REPEATS && repeats(period))
    }

    /// Whether it falls wholly into words and runs, with separators between and an ornament at its end at most.
    fn is_made_of(&self, is_word: &dyn Fn(&str) -> bool) -> bool {
        let length = self.chars.len();
        let mut reached = vec![false; length + 1];
        if let Some(start) = reached.first_mut() {
            *start = true;
        }
        for start in 0..length {
            if !reached.get(start).copied().unwrap_or_default() {
                continue;
            }
            let rest = self.chars.get(start..).unwrap_or_default();
            if start > 0 && rest.len() <= MAX_ORNAMENT && rest.iter().all(|c| is_ornament(*c)) {
                return true;
            }
            if let [first, ..] = rest
                && start > 0
                && is_separator(*first)
                && let Some(next) = reached.get_mut(start + 1)
            {
                *next = true;
            }
            let run = self.runs.get(start).copied().unwrap_or_default();
            for (length, end) in reached.iter_mut().skip(start).enumerate().skip(MIN_RUN) {
                *end = *end
                    || length <= run
                    || (length == 4 && is_year(rest))
                    || is_word(self.part(start, start + length));
            }
        }
        reached.last().copied().unwrap_or_default()
    }
}

fn is_ornament(c: char) -> bool {
    c.is_ascii_digit() || c.is_ascii_punctuation() || c == ' '
}

fn is_separator(c: char) -> bool {
    matches!(c, ' ' | '-' | '_' | '.' | ',')
}

fn is_year(chars: &[char]) -> bool {
    matches!(chars, ['1', '9', a, b, ..] | ['2', '0', a, b, ..] if a.is_ascii_digit() && b.is_ascii_digit())
}

/// How long the longest run at the beginning is.
fn longest_run(chars: &[char]) -> usize {
    let Some(first) = chars.first().map(|c| key(*c)).filter(char::is_ascii) else { return 0 };
    let same = chars.iter().take_while(|c| key(**c) == first).count();
    let along = |line: &mut dyn Iterator<Item = &u8>| {
        chars.iter().zip(line).take_while(|(c, on_line)| key(**c) == char::from(**on_line)).count()
    };
    let mut longest = same;
    for line in LINES {
        for (start, on_line) in line.bytes().enumerate() {
            if char::from(on_line) == first {
                let (before, after) = line.as_bytes().split_at_checked(start).unwrap_or_default();
                longest = longest.max(along(&mut after.iter()));
                longest = longest.max(along(&mut after.iter().take(1).chain(before.iter().rev())));
            }
        }
    }
    longest
}

/// The character that the same key gives without Shift: signs on the digits' keys are digits.
fn key(c: char) -> char {
    match c {
        '!' => '1',
        '@' => '2',
        '#' => '3',
        '$' => '4',
        '%' => '5',
        '^' => '6',
        '&' => '7',
        '*' => '8',
        '(' => '9',
        ')' => '0',
        other => other,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn common(text: &str) -> bool {
        is_common(&Canonical::of(text), &HashSet::new())
    }

    fn made_of(text: &str, words: &[&str]) -> bool {
        let words = words.iter().map(|word| Canonical::of(word).as_str().to_owned()).collect();
        is_made_of(&Canonical::of(text), &words)
    }

    /// ASVS 6.2.4 asks for the three thousand most common ones that the length lets pass.
    #[test]
    fn there_are_thousands_for_every_length() {
        for least in [8_usize, 15] {
            let mut made = std::collections::BTreeSet::new();
            for word in WORDS.iter() {
                let count = word.chars().count();
                let times = least.div_ceil(count);
                made.insert(word.repeat(times));
                made.insert(format!("{}1", word.repeat(times)));
                for run in ["123", "12345678", "1234567890", "2024", "1999!", "123456789012"] {
                    made.insert(format!("{word}{run}"));
                }
            }
            made.retain(|password| password.chars().count() >= least);
            assert!(made.len() > 3_000, "{} of {least}", made.len());
            // All of them take a minute without optimisation.
            for password in made.iter().filter(|password| password.chars().count() <= MAX_CHARS).step_by(10) {
                assert!(common(password), "{password}");
            }
        }
    }

    #[test]
    fn the_list_is_in_canonical_form() {
        let wrong: Vec<_> = WORDS.iter().filter(|word| Canonical::of(word).as_str() != **word).collect();
        assert!(wrong.is_empty(), "{wrong:?}");
        let whole = WORDS.iter().filter(|word| word.chars().count() >= 15).count();
        assert!(whole > 100 && WORDS.len() > 1_000, "{whole} of {}", WORDS.len());
    }

    #[test]
    fn what_everybody_tries_is_refused() {
        for password in [
            "aaaaaaaaaaaaaaa",
            "123456789012345",
            "012345678901234",
            "987654321098765",
            "11111222223333344444",
            "121212121212121",
            "abcdefghijklmno",
            "zyxwvutsrqponml",
            "qwertyuiopasdfg",
            "QWERTYUIOPASDFGHJKL",
            "qwertyuiop12345",
            "qazwsxedcrfvtgb",
            "1qaz2wsx3edc4rfv",
            "!QAZ@WSX#EDC$RFV",
            "1q2w3e4r5t6y7u8",
            "q1w2e3r4t5y6u7i8o9p0",
            "zaq12wsxcde34rfv",
            "asdfghjklasdfghjkl",
            "passwordpassword",
            "PasswordPassword",
            "password12345678",
            "Password123456789!",
            "Password20242024",
            "letmeinletmeinletmein",
            "correcthorsebatterystaple",
            "CorrectHorseBatteryStaple",
            "CorrectHorseBatteryStaple1",
            "thequickbrownfoxjumpsoverthelazydog",
            "3141592653589793",
            "iloveyouiloveyou12",
            "2024dragondragon!",
            "letmein-letmein-1",
            "contrase\u{f1}acontrase\u{f1}a",
            "contrasen\u{303}aCONTRASE\u{d1}A1",
            "\u{43f}\u{430}\u{440}\u{43e}\u{43b}\u{44c}\u{41f}\u{410}\u{420}\u{41e}\u{41b}\u{42c}1234",
        ] {
            assert!(common(password), "{password}");
        }
    }

    #[test]
    fn what_is_merely_made_of_words_is_not() {
        for password in [
            "correct horse battery",
            "correct horse battery staple",
            "a long pass phrase",
            "another long password",
            "a brand new password",
            "wrong password here",
            "caf\u{e9} with friends",
            "sunshinedragonflower",
            "qjvwkzpxmbtrnsd",
            "mypasswordisgreen",
            "teapot umbrella 12",
            "password is not enough",
            "12345 once i caught a fish",
            "admin password for the shop",
        ] {
            assert!(!common(password), "{password}");
        }
        assert!(!common(&"\u{1f511}".repeat(15)), "lists of guesses have no emoji");
        assert!(common(&"x".repeat(63)) && !common(&"x".repeat(64)), "lists of guesses are not so long");
        assert!(!common(""));
    }

    #[test]
    fn a_hosts_own_words_are_common_too() {
        let own = HashSet::from(["acme rockets".to_owned()]);
        assert!(is_common(&Canonical::of("Acme RocketsAcme Rockets"), &own));
        assert!(is_common(&Canonical::of("Acme Rockets 2026"), &own));
        assert!(!is_common(&Canonical::of("acme rockets fly high"), &own));
    }

    #[test]
    fn what_is_made_of_the_context_is_refused() {
        let words = ["alice", "Alice@Acme.example", "acme", "STRASSE", "ab", "o'brien"];
        for password in [
            "alicealicealice",
            "ALICEaliceAlice",
            "alice@acme.example",
            "acmeacmeacmeacme",
            "aliceacme2026!!",
            "alice1234567890",
            "stra\u{df}estra\u{df}e12",
            "o'brieno'brien",
        ] {
            assert!(made_of(password, &words), "{password}");
        }
        for password in [
            "alice likes green tea",
            "notalicealicealice",
            "abaababababbaab",
            "123456789012345",
            "... 123 ... 456",
        ] {
            assert!(!made_of(password, &words), "{password}");
        }
    }

    proptest::proptest! {
        #![proptest_config(proptest::prelude::ProptestConfig::with_cases(64))]
        #[test]
        fn anything_can_be_looked_at(text in "\\PC{0,80}", word in "\\PC{0,10}") {
            let canonical = Canonical::of(&text);
            let again = Canonical::of(canonical.as_str());
            proptest::prop_assert_eq!(again.as_str(), canonical.as_str());
            let words = HashSet::from([Canonical::of(&word).as_str().to_owned()]);
            let _ = is_common(&canonical, &words);
            let _ = is_made_of(&canonical, &words);
        }

        #[test]
        fn a_word_is_refused_however_often_it_comes(word in "[a-z]{4,12}", times in 2_usize..5, run in "(123|2024|qwerty)?", ornament in "[0-9!.]{0,4}") {
            let password = format!("{}{run}{ornament}", word.repeat(times));
            proptest::prop_assert!(made_of(&password, &[&word]), "{}", password);
        }
    }
}
