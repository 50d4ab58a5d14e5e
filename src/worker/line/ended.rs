//! How a job ended, for those who settle its message and for those who count.

use super::policy::Verdict;
use crate::failure::{Class, Failure, Reason};
use crate::recording::KeyFolder;
use crate::store::StoredObject;
use crate::worker::fairness::Lesson;

/// What a line that ended well has done.
pub enum Done {
    Archived(Archived),
    /// Into this many messages.
    Expanded(usize),
}

/// How a job ended.
pub enum Outcome {
    Done(Done),
    Failed(Failure),
    /// A suspect, judged before any work.
    Suspect(Verdict),
    /// A suspect that has just become one.
    NewSuspect,
    /// A dump that belongs on the bulk queue.
    Forwarded,
    /// It gets no place: its patience was over, or it stood in the way of others.
    NoPlace,
    /// Its tenant is paused, or there is none.
    Paused,
    /// CC-FS did not answer it, and others wanted its place.
    CutShort,
    /// The drain time is over, or its channel had died before it began.
    Stopped,
}

/// What a job has archived.
pub struct Archived {
    /// One, or those of an unpacked ZIP in the order of their keys.
    pub objects: Vec<StoredObject>,
    /// Where those of a ZIP are.
    pub folder: KeyFolder,
    /// Whether CC-FS was asked for it this time.
    pub downloaded: bool,
}

impl Archived {
    /// Whether another try or message had stored all of it.
    pub fn already_there(&self) -> bool {
        self.objects.iter().all(|object| object.already_there)
    }

    /// The key, or that of the folder: names in an archive are anybody's, and may be phone numbers.
    pub fn key(&self) -> &str {
        let folder = self.folder.as_str();
        let mut keys = self.objects.iter().map(|object| object.key.as_str());
        keys.find(|key| !key.starts_with(folder)).unwrap_or(folder)
    }
}

impl From<Result<Done, Failure>> for Outcome {
    fn from(result: Result<Done, Failure>) -> Self {
        result.map_or_else(Self::Failed, Self::Done)
    }
}

impl Outcome {
    /// What it teaches of the tenant's servers, if anything.
    pub fn lesson(&self) -> Option<Lesson> {
        match self {
            // Of what was downloaded that was learnt when it began to come.
            Self::Done(Done::Archived(archived)) => {
                (!archived.downloaded).then_some(Lesson::Stored)
            }
            Self::Failed(failure) => match failure.class {
                Class::Throttled => Some(Lesson::Throttled),
                // Also what was not asked, since its breaker is open.
                Class::Unavailable => Some(Lesson::Silent),
                Class::Held => None,
                _ => failure.reason.ccfs_code().map(|_| Lesson::Answered),
            },
            Self::CutShort => Some(Lesson::Silent),
            _ => None,
        }
    }
}

/// A try that panicked is a failed one.
pub fn panicked() -> Failure {
    let detail = "the job panicked; the worker's log says where";
    Failure::new(Class::Failure, Reason::JOB_PANICKED, detail)
}
