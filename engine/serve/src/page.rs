//! The dashboard: a page, its script and style, and a chart library, all of them in the binary.

use axum::extract::Path;
use axum::http::{HeaderName, StatusCode, header};
use axum::response::{IntoResponse, Response};

/// What the page may do in a browser: nothing that comes from elsewhere. The chart library sets styles on elements.
pub(crate) const POLICY: &str = "default-src 'none'; script-src 'self'; style-src 'self' 'unsafe-inline'; \
     img-src 'self' data:; connect-src 'self'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'";

const HTML: &str = "text/html; charset=utf-8";
const SCRIPT: &str = "text/javascript; charset=utf-8";
const STYLE: &str = "text/css; charset=utf-8";

macro_rules! assets {
    ($($name:literal $kind:ident $path:literal;)*) => {
        /// Name, type and contents of everything that the page loads.
        const ASSETS: &[(&str, &str, &str)] = &[$(($name, $kind, include_str!(concat!("../page/", $path))),)*];
    };
}

assets! {
    "tidegate.css" STYLE "tidegate.css";
    "uPlot.css" STYLE "vendor/uPlot.min.css";
    "uPlot.js" SCRIPT "vendor/uPlot.iife.min.js";
    "main.js" SCRIPT "main.js";
    "link.js" SCRIPT "link.js";
    "views.js" SCRIPT "views.js";
    "charts.js" SCRIPT "charts.js";
    "heatmap.js" SCRIPT "heatmap.js";
    "controls.js" SCRIPT "controls.js";
    "format.js" SCRIPT "format.js";
    "signals.js" SCRIPT "signals.js";
}

type Headers = [(HeaderName, &'static str); 2];

pub(crate) async fn index() -> (Headers, &'static str) {
    let headers = [(header::CONTENT_TYPE, HTML), (header::CACHE_CONTROL, "no-cache")];
    (headers, include_str!("../page/index.html"))
}

pub(crate) async fn asset(Path(name): Path<String>) -> Response {
    let found = ASSETS.iter().find(|(other, _, _)| *other == name);
    match found {
        Some((_, kind, text)) => {
            ([(header::CONTENT_TYPE, *kind), (header::CACHE_CONTROL, "no-cache")], *text).into_response()
        }
        None => (StatusCode::NOT_FOUND, "no such asset").into_response(),
    }
}
