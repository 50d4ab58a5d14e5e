//! One of a kind for all who want the same: made when it is first wanted, gone with the last who
//! holds it. It must not know what is shared.

use std::collections::HashMap;
use std::fmt;
use std::hash::Hash;
use std::sync::{Arc, Mutex, PoisonError, Weak};

/// What is there now, by what it is made from.
pub struct Shared<K, V>(Mutex<HashMap<K, Weak<V>>>);

impl<K: Eq + Hash, V> Shared<K, V> {
    /// The one that is made from `key`.
    ///
    /// # Errors
    /// It is not there, and `make` has failed.
    pub fn get<E>(&self, key: K, make: impl FnOnce(&K) -> Result<V, E>) -> Result<Arc<V>, E> {
        // A panic in `make` leaves the map as it was.
        let mut known = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(there) = known.get(&key).and_then(Weak::upgrade) {
            return Ok(there);
        }
        let made = Arc::new(make(&key)?);
        if known.len() == known.capacity() {
            known.retain(|_, one| one.strong_count() > 0);
        }
        known.insert(key, Arc::downgrade(&made));
        Ok(made)
    }
}

impl<K, V> Default for Shared<K, V> {
    fn default() -> Self {
        Self(Mutex::default())
    }
}

impl<K, V> fmt::Debug for Shared<K, V> {
    /// Neither what is shared nor what it is made from, which may hold a secret.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Shared(…)")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(shared: &Shared<u32, String>, key: u32) -> Arc<String> {
        shared.get(key, |key| Ok::<_, ()>(key.to_string())).unwrap()
    }

    #[test]
    fn there_is_one_of_a_kind_for_as_long_as_somebody_holds_it() {
        let shared = Shared::default();
        let one = of(&shared, 1);
        assert!(Arc::ptr_eq(&one, &of(&shared, 1)));
        assert!(!Arc::ptr_eq(&one, &of(&shared, 2)));
        assert!(shared.get(3, |_| Err("cannot be made")).is_err());
        let gone = Arc::downgrade(&one);
        drop(one);
        assert_eq!(gone.upgrade(), None, "nothing is kept for nobody");
        assert_eq!(*of(&shared, 1), "1");
    }

    #[test]
    fn what_is_gone_takes_no_room() {
        let shared = Shared::default();
        for key in 0..10_000 {
            of(&shared, key);
        }
        assert!(shared.0.lock().unwrap().len() < 100);
    }
}
