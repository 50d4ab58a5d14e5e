//! Pictures of a running worker's page for the README: `make pictures URL=http://127.0.0.1:9464/`.
//!
//! `make demo KEEP=1` has a worker whose page is worth a picture, and says where it is.

#[path = "../../tests/support/mod.rs"]
mod support;

use std::path::Path;
use std::process::ExitCode;
use std::time::Duration;

use support::browser::{Browser, Tab};

/// The page's own font where it is there; the one that Chromium brings along is a poor one.
const FONT: &str = "fonts-inter";

/// Name, width, height, pixels a CSS pixel, dark.
const PICTURES: [(&str, u32, u32, u32, bool); 4] = [
    ("page.png", 1280, 980, 1, false),
    ("page-dark.png", 1280, 980, 1, true),
    ("page-phone.png", 390, 690, 2, false),
    ("page-phone-dark.png", 390, 690, 2, true),
];

#[tokio::main]
async fn main() -> ExitCode {
    let mut arguments = std::env::args().skip(1);
    let (Some(url), Some(folder), None) = (arguments.next(), arguments.next(), arguments.next())
    else {
        eprintln!("usage: pictures URL FOLDER");
        return ExitCode::from(2);
    };
    if !Path::new("/usr/share/fonts/opentype/inter").exists() {
        support::debian::install(FONT, "");
    }
    std::fs::create_dir_all(&folder).expect("the folder can be made");
    let browser = Browser::start().await;
    let tab = browser.tab().await;
    tab.open(&url).await;
    for (name, width, height, scale, dark) in PICTURES {
        tab.size(width, height, scale).await;
        tab.dark(dark).await;
        drawn(&tab).await;
        let file = Path::new(&folder).join(name);
        let picture = tab.picture().await;
        println!("{}: {} kB", file.display(), picture.len() / 1000);
        std::fs::write(file, picture).expect("the picture can be written");
    }
    ExitCode::SUCCESS
}

/// Until the worker has answered, and what it said is on the screen.
async fn drawn(tab: &Tab) {
    let limit = Duration::from_secs(30);
    tab.until("the worker answers", limit, "document.querySelector('#ledger').textContent").await;
    tab.eval("new Promise(drawn => requestAnimationFrame(() => requestAnimationFrame(drawn)))")
        .await;
}
