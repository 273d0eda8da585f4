//! What every page has: text that is safe in markup, and a frame that loads nothing from anywhere.

use std::fmt::Write as _;

/// Looks of a page, on light and on dark ground.
const STYLE: &str = "\
:root{color-scheme:light dark}\
body{margin:0 auto;padding:24px;max-width:1080px;font:15px/1.5 system-ui,'DejaVu Sans',sans-serif;\
color:#1c2530;background:#fff}\
h1{font-size:22px;margin:0 0 12px}\
h2{font-size:18px;margin:28px 0 8px}\
figure{margin:0 0 24px}\
figure svg{width:100%;height:auto;display:block}\
.scroll{overflow-x:auto}\
table{border-collapse:collapse;width:100%;font-variant-numeric:tabular-nums}\
caption{text-align:left;padding:0 0 8px;font-weight:600}\
th,td{padding:6px 10px;text-align:right;border-bottom:1px solid #d9dfe5;white-space:nowrap}\
th:first-child{text-align:left}\
.says{text-align:left;white-space:normal}\
pre{padding:10px 12px;overflow-x:auto;background:#f1f4f7}\
p{color:#4c5a68;font-size:13px}\
.lead{color:inherit;font-size:15px}\
@media (prefers-color-scheme:dark){body{color:#e6ebf0;background:#12181f}\
th,td{border-color:#2b3641}p{color:#a9b6c3}.lead{color:inherit}pre{background:#1b232c}}";

/// Text as it may stand in markup, in an attribute too.
pub fn escaped(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    for c in text.chars() {
        match c {
            '&' => out.push_str("&amp;"),
            '<' => out.push_str("&lt;"),
            '>' => out.push_str("&gt;"),
            '"' => out.push_str("&quot;"),
            // Not allowed in XML at all.
            c if c.is_control() && c != '\n' => out.push(' '),
            c => out.push(c),
        }
    }
    out
}

/// A whole page around markup, under a title that is text.
pub fn page(title: &str, body: &str) -> String {
    let title = escaped(title);
    format!(
        "<!doctype html>\n<html lang=\"en\">\n<head>\n<meta charset=\"utf-8\">\n\
         <meta name=\"viewport\" content=\"width=device-width,initial-scale=1\">\n\
         <title>{title}</title>\n<style>{STYLE}</style>\n</head>\n<body>\n<main>\n\
         <h1>{title}</h1>\n{body}</main>\n</body>\n</html>\n"
    )
}

/// A heading row of a table.
pub fn head(columns: &[&str]) -> String {
    columns.iter().map(|name| format!("<th scope=\"col\">{}</th>", escaped(name))).collect()
}

/// Markup, a line at a time.
#[derive(Debug, Default)]
pub struct Markup(pub String);

impl Markup {
    /// Adds a line.
    pub fn line(&mut self, text: std::fmt::Arguments<'_>) {
        let written = writeln!(self.0, "{text}");
        debug_assert!(written.is_ok(), "writing to a String cannot fail");
    }
}
