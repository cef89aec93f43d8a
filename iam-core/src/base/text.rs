//! What of a text is seen by whoever looks at it.

use icu_properties::props::{DefaultIgnorableCodePoint, GeneralCategory};
use icu_properties::{CodePointMapData, CodePointSetData};

/// Whether a character stands on a page as what it is: none that is left out, is drawn as nothing, or changes the order of its neighbours.
/// Spaces are seen. The joiners (U+200C, U+200D) and the selectors of variants count as not seen, though some scripts write with them.
pub fn is_seen(c: char) -> bool {
    use GeneralCategory::{
        Control, Format, LineSeparator, ParagraphSeparator, PrivateUse, Surrogate, Unassigned,
    };
    let category = CodePointMapData::<GeneralCategory>::new().get(c);
    let is_unseen = matches!(
        category,
        Control | Format | LineSeparator | ParagraphSeparator | PrivateUse | Surrogate | Unassigned
    );
    !(is_unseen || is_ignorable(c) || is_blank(c))
}

/// What programs leave out when they show a text (`Default_Ignorable_Code_Point`).
pub(crate) fn is_ignorable(c: char) -> bool {
    CodePointSetData::new::<DefaultIgnorableCodePoint>().contains(c)
}

/// Letters and symbols whose glyph is empty: Unicode has no property for that. A Braille cell without dots, a musical note without a head,
/// blanks of Egyptian and Khitan.
const fn is_blank(c: char) -> bool {
    matches!(c, '\u{2800}' | '\u{1d159}' | '\u{13441}' | '\u{13442}' | '\u{16fe4}')
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_not_seen_is_known() {
        for unseen in [
            '\0',
            '\n',
            '\u{7f}',
            '\u{85}',
            '\u{ad}',
            '\u{34f}',
            '\u{61c}',
            '\u{115f}',
            '\u{1160}',
            '\u{17b4}',
            '\u{180b}',
            '\u{180e}',
            '\u{200b}',
            '\u{200c}',
            '\u{200d}',
            '\u{200e}',
            '\u{2028}',
            '\u{2029}',
            '\u{202e}',
            '\u{2060}',
            '\u{2066}',
            '\u{2800}',
            '\u{3164}',
            '\u{e000}',
            '\u{fdd0}',
            '\u{fe00}',
            '\u{fe0f}',
            '\u{feff}',
            '\u{ffa0}',
            '\u{fff9}',
            '\u{ffff}',
            '\u{13441}',
            '\u{16fe4}',
            '\u{1bca0}',
            '\u{1d159}',
            '\u{1d173}',
            '\u{e0001}',
            '\u{e0041}',
            '\u{e0100}',
        ] {
            assert!(!is_seen(unseen), "U+{:04X}", u32::from(unseen));
        }
        for seen in [
            ' ', 'a', '\u{a0}', 'é', '\u{301}', 'ß', '\u{5d0}', '\u{915}', '電', '\u{3000}', '€', '🦀',
            '\u{28ff}', '"',
        ] {
            assert!(is_seen(seen), "U+{:04X}", u32::from(seen));
        }
    }
}
