//! What there is in the sink: the sizes of objects, and of the parts of uploads that are not complete.

use std::collections::{BTreeMap, HashMap};
use std::sync::{Mutex, MutexGuard, PoisonError};

use crc_fast::CrcAlgorithm::Crc64Nvme;

#[derive(Default)]
pub struct Stock {
    /// Path → bytes.
    objects: Mutex<HashMap<String, u64>>,
    /// Path → the parts by their numbers: nobody sees them yet.
    uploads: Mutex<HashMap<String, BTreeMap<u32, Part>>>,
}

/// One of them, or all that there are.
#[derive(Clone, Copy)]
pub struct Part {
    pub length: u64,
    /// Where it came with one.
    pub crc: Option<u64>,
}

impl Stock {
    pub fn size(&self, path: &str) -> Option<u64> {
        held(&self.objects).get(path).copied()
    }

    /// False, and nothing is done: it is there and must not have been.
    pub fn create(&self, path: String, length: u64, conditional: bool) -> bool {
        let mut objects = held(&self.objects);
        let may = !(conditional && objects.contains_key(&path));
        if may {
            objects.insert(path, length);
        }
        may
    }

    /// The upload to this path has no parts yet.
    pub fn begin(&self, path: String) {
        held(&self.uploads).insert(path, BTreeMap::new());
    }

    /// In place of what came before under that number.
    pub fn add(&self, path: String, number: u32, part: Part) {
        held(&self.uploads).entry(path).or_default().insert(number, part);
    }

    /// All parts as one; they are gone then.
    pub fn complete(&self, path: &str) -> Part {
        let parts = held(&self.uploads).remove(path).unwrap_or_default();
        let all = parts.into_values().reduce(|before, next| Part {
            length: before.length + next.length,
            crc: before.crc.zip(next.crc).map(|(before, crc)| {
                crc_fast::checksum_combine(Crc64Nvme, before, crc, next.length)
            }),
        });
        all.unwrap_or(Part { length: 0, crc: None })
    }

    /// How many objects there are, and their bytes; forgets them.
    pub fn take(&self) -> (usize, u64) {
        let objects = std::mem::take(&mut *held(&self.objects));
        (objects.len(), objects.values().sum())
    }
}

fn held<T>(lock: &Mutex<T>) -> MutexGuard<'_, T> {
    lock.lock().unwrap_or_else(PoisonError::into_inner)
}
