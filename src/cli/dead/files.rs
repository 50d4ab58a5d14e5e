//! Dead messages in a file: written whole or not at all, and put back into the dead queue once each.

use std::collections::HashMap;
use std::fs::{self, File};
use std::io::{self, BufRead, BufReader, BufWriter, Write};
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use tempfile::NamedTempFile;

use crate::broker::{BadRecord, Record};
use crate::cli::held::{Desk, Lines, Selection, Undone};
use crate::cli::progress::Progress;
use crate::cli::{Error, tell};

/// Writes the messages that fit to a file, or to standard output.
///
/// # Errors
/// The file is there already or cannot be written, or the broker fails.
pub async fn export(desk: &Desk<'_>, selection: &Selection, to: &Path) -> Result<ExitCode, Error> {
    let mut copy = Copy::of(to)?;
    let (tally, all) = desk.look(selection, |message, _| copy.add(&message.record())).await?;
    if desk.is_stopped() {
        return Err(Undone::NotWhole(to.display().to_string()).into());
    }
    copy.keep()?;
    tell(format_args!("{} of {all} dead messages written to {}", tally.total, to.display()));
    Ok(ExitCode::SUCCESS)
}

/// What is being written.
enum Copy<'a> {
    Shown(Lines),
    /// Beside the file that it becomes.
    File(&'a Path, BufWriter<NamedTempFile>),
}

impl<'a> Copy<'a> {
    fn of(to: &'a Path) -> Result<Self, Error> {
        if to == Path::new("-") {
            return Ok(Self::Shown(Lines::new()));
        }
        if to.symlink_metadata().is_ok() {
            return Err(Error::Setup(there_already(to)));
        }
        let folder = to.parent().filter(|folder| !folder.as_os_str().is_empty());
        let folder = folder.unwrap_or(Path::new("."));
        let file = fs::metadata(folder).and_then(|_| NamedTempFile::new_in(folder));
        Ok(Self::File(to, BufWriter::new(file.map_err(|error| unwritten(to, error))?)))
    }

    fn add(&mut self, record: &Record) -> Result<(), Error> {
        let line = record.line();
        match self {
            Self::Shown(lines) => lines.add(&format!("{line}\n")),
            Self::File(to, file) => writeln!(file, "{line}").map_err(|error| unwritten(to, error)),
        }
    }

    fn keep(self) -> Result<(), Error> {
        let (to, file) = match self {
            Self::Shown(lines) => return lines.show(),
            Self::File(to, file) => (to, file),
        };
        let file = file.into_inner().map_err(|error| unwritten(to, error.into_error()))?;
        file.as_file().sync_all().map_err(|error| unwritten(to, error))?;
        file.persist_noclobber(to).map(drop).map_err(|error| match error.error.kind() {
            io::ErrorKind::AlreadyExists => Error::Setup(there_already(to)),
            _ => unwritten(to, error.error),
        })
    }
}

fn there_already(to: &Path) -> String {
    format!("{} is there already, and is not replaced: name another", to.display())
}

fn unwritten(to: &Path, error: io::Error) -> Error {
    Undone::Unwritten { path: to.to_owned(), error }.into()
}

/// Puts the messages of a file into the dead queue, but for those that are there.
///
/// # Errors
/// The file cannot be read, not all of it holds messages, or the broker does not take one.
pub async fn import(desk: &Desk<'_>, from: &Path) -> Result<ExitCode, Error> {
    let (source, size) = open(from)?;
    let [shelf] = desk.shelves.as_slice() else { unreachable!("there is one dead queue") };
    let mut there: HashMap<String, u64> = HashMap::new();
    let all = Selection::new(Vec::new(), Default::default());
    desk.look(&all, |message, _| {
        *there.entry(message.id.clone()).or_default() += 1;
        Ok(())
    })
    .await?;
    let intake = shelf.intake().await?;
    let mut progress = Progress::new("put in", size);
    let (mut put, mut known, mut bad) = (0, 0, 0);
    let mut lines = Numbered { source, line: 0, taken: 0 };
    let mut told: Result<(), Error> = Ok(());
    while !desk.is_stopped() {
        let next = match lines.next() {
            Ok(Some(next)) => next,
            Ok(None) => break,
            Err(error) => {
                let path = PathBuf::from(from);
                told = Err(Undone::Unread { path, error }.into());
                break;
            }
        };
        match next {
            Err(why) => {
                bad += 1;
                progress.say(&format!("line {}: {why}", lines.line));
            }
            Ok(record) => match there.get_mut(&record.id()).filter(|count| **count > 0) {
                // As often as it stands there it is not put in.
                Some(count) => {
                    *count -= 1;
                    known += 1;
                }
                None => match intake.put(&record).await {
                    Ok(()) => put += 1,
                    Err(error) => {
                        told = Err(Undone::NotTaken { line: lines.line, error }.into());
                        break;
                    }
                },
            },
        }
        progress.at(put, lines.taken);
    }
    progress.end();
    let stopped = desk.is_stopped();
    let when = if stopped { ", before it was stopped" } else { "" };
    tell(format_args!("{put} put into {}, {known} were there already{when}", shelf.name()));
    told?;
    intake.close().await;
    match bad {
        0 if stopped => Ok(ExitCode::FAILURE),
        0 => Ok(ExitCode::SUCCESS),
        1 => Err(Undone::BadLines("1 line is no message".to_owned()).into()),
        bad => Err(Undone::BadLines(format!("{bad} lines are no messages")).into()),
    }
}

fn open(from: &Path) -> Result<(Box<dyn BufRead>, Option<u64>), Error> {
    if from == Path::new("-") {
        return Ok((Box::new(BufReader::new(io::stdin())), None));
    }
    let file = File::open(from).map_err(|error| {
        let path = from.display();
        Error::Setup(format!("{path}: cannot be opened: {error}; name a readable file, or -"))
    })?;
    let size = file.metadata().ok().filter(|of| of.is_file()).map(|of| of.len());
    Ok((Box::new(BufReader::new(file)), size))
}

/// The lines of a file, each as a message or as why it is none.
struct Numbered {
    source: Box<dyn BufRead>,
    line: u64,
    /// Bytes.
    taken: u64,
}

impl Numbered {
    /// The next line that is not empty.
    fn next(&mut self) -> io::Result<Option<Result<Record, BadRecord>>> {
        loop {
            let mut line = Vec::new();
            let read = self.source.read_until(b'\n', &mut line)?;
            if read == 0 {
                return Ok(None);
            }
            self.line += 1;
            self.taken += read as u64;
            if !line.trim_ascii().is_empty() {
                return Ok(Some(Record::read(&line)));
            }
        }
    }
}
