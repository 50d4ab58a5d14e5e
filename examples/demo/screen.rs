//! How it is shown: bars that move on a terminal, plain lines elsewhere; colours only where they
//! can be seen and are wanted.

use std::fmt::Display;
use std::io::{IsTerminal, stdout};
use std::time::Duration;

use indicatif::{MultiProgress, ProgressBar, ProgressDrawTarget, ProgressStyle};
use tokio::time::Instant;

/// Where the demo writes.
pub struct Screen {
    /// On a terminal.
    bars: Option<MultiProgress>,
    colours: bool,
}

/// How something is set off where there are colours.
#[derive(Clone, Copy)]
pub enum Tone {
    Bold,
    Dim,
    Good,
    Warn,
    Bad,
}

impl Screen {
    pub fn open() -> Self {
        let set = |name| std::env::var_os(name).is_some_and(|value| !value.is_empty());
        let dumb = std::env::var_os("TERM").is_none_or(|term| term == "dumb");
        let terminal = stdout().is_terminal() && !dumb;
        let bars = terminal
            .then(|| MultiProgress::with_draw_target(ProgressDrawTarget::stdout_with_hz(12)));
        Self { bars, colours: terminal && !set("NO_COLOR") }
    }

    /// Whether bars move.
    pub fn is_live(&self) -> bool {
        self.bars.is_some()
    }

    pub fn paint(&self, tone: Tone, text: impl Display) -> String {
        let code = match tone {
            _ if !self.colours => return text.to_string(),
            Tone::Bold => "1",
            Tone::Dim => "2",
            Tone::Good => "32",
            Tone::Warn => "33",
            Tone::Bad => "31",
        };
        format!("\x1b[{code}m{text}\x1b[0m")
    }

    pub fn title(&self) {
        self.line(&self.paint(Tone::Bold, "callvault demo: an afternoon of calls, two tenants"));
        self.line("");
    }

    pub fn heading(&self, text: &str) {
        println!("\n{}", self.paint(Tone::Bold, text));
    }

    /// A line above the bars.
    pub fn line(&self, text: &str) {
        match &self.bars {
            // An empty line would be swallowed.
            Some(bars) => bars.println(if text.is_empty() { " " } else { text }),
            None => {
                println!("{text}");
                Ok(())
            }
        }
        .expect("the terminal can be written");
    }

    /// Shows that a part starts, and that it has; `hint` says why it takes long.
    pub async fn starting<T>(
        &self,
        name: &str,
        hint: &str,
        start: impl Future<Output = (T, String)>,
    ) -> T {
        let began = Instant::now();
        let spinner = self.bars.as_ref().map(|bars| {
            let style =
                ProgressStyle::with_template("  {spinner} {msg}").expect("a valid template");
            let spinner = bars.add(ProgressBar::new_spinner().with_style(style));
            let hint = if hint.is_empty() { "starting" } else { hint };
            spinner.set_message(format!("{name:<8}{hint}…"));
            spinner.enable_steady_tick(Duration::from_millis(120));
            spinner
        });
        if spinner.is_none() && !hint.is_empty() {
            self.line(&format!("  … {name:<8}{hint}"));
        }
        let (part, said) = start.await;
        if let Some(spinner) = spinner {
            spinner.finish_and_clear();
        }
        let took = format!("({:.1} s)", began.elapsed().as_secs_f64());
        self.ready(name, &format!("{said} {}", self.paint(Tone::Dim, took)));
        part
    }

    /// Something is there.
    pub fn ready(&self, name: &str, said: &str) {
        self.line(&format!("  {} {name:<8}{said}", self.paint(Tone::Good, "✓")));
    }

    /// A bar of `length` steps, where bars move.
    pub fn bar(&self, name: &str, length: usize) -> Option<ProgressBar> {
        let (bold, bar) = if self.colours { (".bold", ".green/dim") } else { ("", "") };
        let template = format!("  {{prefix:8{bold}}}{{bar:24{bar}}} {{pos:>3}}/{{len}}  {{msg}}");
        let style = ProgressStyle::with_template(&template).expect("a valid template");
        let bars = self.bars.as_ref()?;
        let bar = ProgressBar::new(length as u64).with_style(style.progress_chars("━╸─"));
        let bar = bars.add(bar);
        bar.set_prefix(name.to_owned());
        Some(bar)
    }

    /// A line below the bars, where bars move.
    pub fn footer(&self) -> Option<ProgressBar> {
        let style = ProgressStyle::with_template("  {msg}").expect("a valid template");
        Some(self.bars.as_ref()?.add(ProgressBar::new_spinner().with_style(style)))
    }

    /// The bars are done with; what they showed last stays.
    pub fn close(&self) {
        if let Some(bars) = &self.bars {
            bars.set_draw_target(ProgressDrawTarget::hidden());
        }
    }
}

/// `1.5 MiB`.
pub fn size(bytes: u64) -> String {
    indicatif::BinaryBytes(bytes).to_string()
}
