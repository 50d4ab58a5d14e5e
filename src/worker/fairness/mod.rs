//! Who may work: places, turns and shares (contract 2), and how much a tenant's servers take
//! (contract 5, throttled). It must not know what a job does.

mod dumps;
mod jobs;
mod pace;
mod question;
mod standing;
mod waiting;

pub use dumps::{Dumps, Turn};
pub use jobs::{Asking, Jobs, Learnt};
pub use question::Question;
pub use waiting::{Lane, Lesson, NOBODY, Place, Waiting};
