//! QR codes (ISO/IEC 18004) as SVG: how a secret gets from a page into a device.

use std::fmt::Write as _;

use qrcodegen::{QrCode, QrCodeEcc};

/// Light modules around the code, which scanners need to find it.
const QUIET_ZONE: i32 = 4;

/// A text as a picture without a size of its own: it fills whatever it is put into. Nothing when the text is too long, which is beyond
/// two thousand bytes.
///
/// Black on white, whatever the page's colours are. It has no scripts and no inline styles, so that it goes into a page under our
/// policy as it is. Its name for those who can't see it is the page's to give, beside the text to type.
pub(crate) fn svg(text: &str) -> Option<String> {
    let code = QrCode::encode_text(text, QrCodeEcc::Medium).ok()?;
    let size = code.size() + 2 * QUIET_ZONE;
    let mut svg = format!(
        "<svg xmlns=\"http://www.w3.org/2000/svg\" role=\"img\" viewBox=\"0 0 {size} {size}\" shape-rendering=\"crispEdges\">\
         <path fill=\"#fff\" d=\"M0 0h{size}v{size}H0z\"/><path fill=\"#000\" d=\""
    );
    for y in 0..code.size() {
        let mut x = 0;
        while x < code.size() {
            // A row's dark modules that touch are one rectangle: half the bytes, and no seams between them.
            let run = (x..code.size()).take_while(|x| code.get_module(*x, y)).count();
            let run = i32::try_from(run).unwrap_or(0);
            if run > 0 {
                // Writing to a string does not fail.
                let _ = write!(svg, "M{} {}h{run}v1h-{run}z", x + QUIET_ZONE, y + QUIET_ZONE);
            }
            x += run.max(1);
        }
    }
    svg.push_str("\"/></svg>");
    Some(svg)
}

#[cfg(test)]
mod tests {
    use super::*;

    const URI: &str = "otpauth://totp/Acme%20%26%20Co:amy%40acme.example?secret=GEZDGNBVGY3TQOJQGEZDGNBVGY3TQOJQ&issuer=Acme%20%26%20Co&algorithm=SHA1&digits=6&period=30";

    /// Paints the rectangles again: dark or not, by row.
    fn painted(svg: &str) -> Vec<Vec<bool>> {
        let size: usize = between(svg, "viewBox=\"0 0 ", " ").parse().unwrap();
        let mut rows = vec![vec![false; size]; size];
        for rectangle in between(svg, "fill=\"#000\" d=\"M", "\"").split('M') {
            let (x, rest) = rectangle.split_once(' ').unwrap();
            let (y, rest) = rest.split_once('h').unwrap();
            let (run, rest) = rest.split_once('v').unwrap();
            assert_eq!(rest, format!("1h-{run}z"));
            let (x, y, run): (usize, usize, usize) =
                (x.parse().unwrap(), y.parse().unwrap(), run.parse().unwrap());
            for module in &mut rows[y][x..x + run] {
                assert!(!*module, "painted twice");
                *module = true;
            }
        }
        rows
    }

    fn between<'a>(text: &'a str, begin: &str, end: &str) -> &'a str {
        text.split_once(begin).unwrap().1.split_once(end).unwrap().0
    }

    /// What a device reads.
    fn read(svg: &str) -> String {
        const SCALE: usize = 4;
        let rows = painted(svg);
        let size = rows.len() * SCALE;
        let mut image = rqrr::PreparedImage::prepare_from_greyscale(size, size, |x, y| {
            if rows[y / SCALE][x / SCALE] { 0 } else { 255 }
        });
        let grids = image.detect_grids();
        assert_eq!(grids.len(), 1);
        grids[0].decode().unwrap().1
    }

    #[test]
    fn devices_read_what_was_written() {
        let long = "x".repeat(1500);
        for text in [URI, "1", "0123456789", "Grüße, 日本", &long] {
            assert_eq!(read(&svg(text).unwrap()), text);
        }
    }

    #[test]
    fn four_light_modules_all_around() {
        let rows = painted(&svg(URI).unwrap());
        let last = rows.len() - 1;
        for (y, row) in rows.iter().enumerate() {
            for (x, dark) in row.iter().enumerate() {
                let edge = x.min(y).min(last - x).min(last - y);
                assert!(edge >= 4 || !dark, "{x} {y}");
            }
        }
        assert!(rows[4][4] && rows[4][last - 4] && rows[last - 4][4], "three corners begin after it");
    }

    #[test]
    fn nothing_in_it_that_our_policy_forbids() {
        let svg = svg("\"/><script>alert(1)</script>").unwrap();
        assert!(svg.starts_with("<svg ") && svg.ends_with("</svg>") && svg.matches('<').count() == 4);
        assert!(svg.contains("role=\"img\""));
        for not in ["script", "style", "width", "height", "href", "onload"] {
            assert!(!svg.contains(not), "{not}");
        }
    }

    #[test]
    fn too_long_is_nothing() {
        assert_eq!(svg(&"x".repeat(3000)), None);
        assert!(svg("").is_some());
    }
}
