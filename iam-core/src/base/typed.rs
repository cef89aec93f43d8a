//! What people type and paste: codes and names, with what programs and keyboards put around them taken away. One function for each.

use icu_properties::props::{BidiControl, Dash, GeneralCategory};
use icu_properties::{CodePointMapData, CodePointSetData};
use unicode_normalization::char::canonical_combining_class;
use zeroize::Zeroizing;

use crate::base::text::is_ignorable;

/// The combining class of a virama, behind which a joiner belongs to the script (RFC 5892, appendix A).
const VIRAMA: u8 = 9;

/// A code as it is compared: every decimal digit of Unicode as its ASCII digit; without spaces, dashes, the minus and marks that are not
/// seen, wherever they stand. Nothing else is changed, so that what is no code does not become one.
///
/// ```
/// use iam_core::typed::code;
///
/// for typed in ["123 456", "123\u{a0}456", "123-456", "１２３４５６", "١٢٣٤٥٦", "\u{2067}123–456\u{2069}\t"] {
///     assert_eq!(code(typed).as_str(), "123456");
/// }
/// ```
pub fn code(text: &str) -> Zeroizing<String> {
    // With its full room from the start: a string that grows leaves copies behind. No character takes more bytes than before.
    let mut code = Zeroizing::new(String::with_capacity(text.len()));
    code.extend(text.chars().filter(|c| !is_between(*c)).map(plain_digit));
    code
}

/// What stands between the characters of a code, or around them.
fn is_between(c: char) -> bool {
    let category = CodePointMapData::<GeneralCategory>::new();
    c.is_whitespace()
        // All that are punctuation, and the minus.
        || CodePointSetData::new::<Dash>().contains(c)
        || category.get(c) == GeneralCategory::Format
        || is_ignorable(c)
}

/// A decimal digit as its ASCII digit, and everything else as it is.
fn plain_digit(c: char) -> char {
    if c.is_ascii() || !is_decimal(c) {
        return c;
    }
    // Digits stand in runs of ten, from zero on (Unicode's stability policy), and some runs one behind the other.
    let before = (0..u32::from(c)).rev().map_while(char::from_u32).take_while(|c| is_decimal(*c)).count();
    u32::try_from(before % 10).ok().and_then(|value| char::from_digit(value, 10)).unwrap_or(c)
}

fn is_decimal(c: char) -> bool {
    CodePointMapData::<GeneralCategory>::new().get(c) == GeneralCategory::DecimalNumber
}

/// A name or an address as somebody typed it to sign in, or to be called by: without white space and what is not seen (U+200B to U+200D,
/// U+2060, U+FEFF) at its ends. Inside nothing is removed, and a joiner that the script needs at the end (behind a virama) stays.
///
/// Controls are left where they are, white space among them too, as nobody means them: whoever reads the name refuses them.
///
/// ```
/// use iam_core::typed::name;
///
/// assert_eq!(name("\u{3000}amy\u{a0}\u{200b}"), "amy");
/// assert_eq!(name("a\u{200b}my"), "a\u{200b}my");
/// ```
pub fn name(text: &str) -> &str {
    let is_beside = |c: char| !c.is_control() && is_around(c);
    let text = text.trim_start_matches(is_beside);
    let trimmed = text.trim_end_matches(is_beside);
    let rest = text.get(trimmed.len()..).unwrap_or_default();
    match (trimmed.chars().next_back(), rest.chars().next()) {
        (Some(last), Some(joiner @ ('\u{200c}' | '\u{200d}')))
            if canonical_combining_class(last) == VIRAMA =>
        {
            text.get(..trimmed.len() + joiner.len_utf8()).unwrap_or(trimmed)
        }
        _ => trimmed,
    }
}

/// What stands around what is meant, and is no part of it: white space, and what is not seen (U+200B to U+200D, U+2060, U+FEFF).
///
/// ```
/// use iam_core::typed::is_around;
///
/// assert_eq!("\u{feff}\t sqlite://a.db\u{200b}\n".trim_matches(is_around), "sqlite://a.db");
/// ```
pub fn is_around(c: char) -> bool {
    c.is_whitespace() || matches!(c, '\u{200b}'..='\u{200d}' | '\u{2060}' | '\u{feff}')
}

/// What is in no name, wherever it stands: a control, or a mark that turns the direction of what is around it.
pub(crate) fn is_never_in_a_name(c: char) -> bool {
    c.is_control() || CodePointSetData::new::<BidiControl>().contains(c)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use unicode_normalization::UnicodeNormalization;

    #[test]
    fn every_decimal_digit_is_one_of_ten() {
        let digits: Vec<char> = ('\0'..=char::MAX).filter(|c| is_decimal(*c)).collect();
        assert!(digits.len() >= 680, "{}", digits.len());
        for (place, digit) in digits.iter().enumerate() {
            // In order of code points they come ten by ten.
            assert_eq!(plain_digit(*digit).to_digit(10), u32::try_from(place % 10).ok(), "{digit:?}");
            // And where Unicode itself says which digit it stands for, it is that one.
            let folded: String = digit.nfkc().collect();
            if folded.is_ascii() {
                assert_eq!(folded, plain_digit(*digit).to_string(), "{digit:?}");
            }
        }
        for (digits, plain) in
            [("٠١٢٣٤٥٦٧٨٩", "0123456789"), ("𝟘𝟡𝟢𝟫", "0909"), ("०९", "09"), ("๐๙", "09"), ("𞥐𞥙", "09")]
        {
            assert_eq!(code(digits).as_str(), plain);
        }
        // No decimal digits: they mean something else.
        for other in ["²", "①", "Ⅷ", "九", "½", "x"] {
            assert_eq!(code(other).as_str(), other);
        }
    }

    #[test]
    fn what_stands_between_falls_away_and_nothing_else() {
        for between in [
            " ",
            "\t",
            "\n",
            "\r\n",
            "\u{b}",
            "\u{85}",
            "\u{a0}",
            "\u{1680}",
            "\u{2003}",
            "\u{2009}",
            "\u{2028}",
            "\u{202f}",
            "\u{205f}",
            "\u{3000}",
            "-",
            "\u{2010}",
            "\u{2011}",
            "–",
            "—",
            "\u{2212}",
            "\u{2e3a}",
            "－",
            "\u{fe63}",
            "\u{301c}",
            "\u{ad}",
            "\u{34f}",
            "\u{61c}",
            "\u{180e}",
            "\u{200b}",
            "\u{200c}",
            "\u{200d}",
            "\u{200e}",
            "\u{202a}",
            "\u{202e}",
            "\u{2060}",
            "\u{2066}",
            "\u{2069}",
            "\u{fe0f}",
            "\u{feff}",
            "\u{e0001}",
        ] {
            assert_eq!(code(&format!("{between}123{between}456{between}")).as_str(), "123456", "{between:?}");
        }
        for stays in ["+", ".", ",", "_", "/", "\0", "\u{7f}", "x", "é", "\u{301}", "\u{2800}", "🦀"] {
            assert_eq!(code(&format!("123{stays}456")).as_str(), format!("123{stays}456"), "{stays:?}");
        }
    }

    #[test]
    fn a_name_is_trimmed_at_its_ends_alone() {
        for around in [
            " ", "\u{a0}", "\u{3000}", "\u{2003}", "\u{200b}", "\u{200c}", "\u{200d}", "\u{2060}",
            "\u{feff}", "\u{2028}",
        ] {
            assert_eq!(name(&format!("{around}amy{around}")), "amy", "{around:?}");
            assert_eq!(name(&format!(" {around} amy {around} ")), "amy", "{around:?}");
            let inside = format!("a{around}my");
            assert_eq!(name(&inside), inside, "{around:?}");
            assert_eq!(name(around), "", "{around:?}");
        }
        for stays in ["\tamy", "amy\n", "\u{200e}amy", "amy\u{202e}", "amy\0", "\u{ad}amy", "-amy"] {
            assert_eq!(name(stays), stays, "{stays:?}");
        }
        // Behind a virama a joiner says how the letter is written.
        assert_eq!(name(" \u{915}\u{94d}\u{200d}\u{200b} "), "\u{915}\u{94d}\u{200d}");
        assert_eq!(name("\u{200d}\u{915}\u{94d}\u{200d}\u{200d}"), "\u{915}\u{94d}\u{200d}");
    }

    proptest! {
        #[test]
        fn a_code_is_a_fixed_point_and_loses_nothing_that_counts(text in any::<String>()) {
            crate::fuzzing::typed(text.as_bytes());
        }

        #[test]
        fn a_pasted_code_is_the_code(code in "[0-9]{6}", marks in proptest::collection::vec("[\\p{Zs}\\p{Pd}\\p{Cf}]{0,2}", 7)) {
            let pasted: String = marks.iter().zip(code.chars().map(Some).chain([None]))
                .flat_map(|(mark, digit)| mark.chars().chain(digit)).collect();
            let read = super::code(&pasted);
            prop_assert_eq!(read.as_str(), code);
        }
    }
}
