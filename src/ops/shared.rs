//! Weights that operators share, in one plan and between the plans of one model.

use std::any::{Any, TypeId};
use std::cell::RefCell;
use std::collections::HashMap;
use std::fmt;
use std::sync::{Arc, LazyLock};
use tract_core::internal::{Tensor, TractResult};

/// A weight that operators share, made when it is first used. Equal when it is the same one in memory: comparing the elements
/// would cost more than it could save.
pub struct Shared<T>(Arc<LazyLock<T, Make<T>>>);

type Make<T> = Box<dyn FnOnce() -> T + Send>;

impl<T: Send + Sync + 'static> Shared<T> {
    /// Shares a value.
    pub fn new(value: T) -> Shared<T> {
        let shared = Shared::later(move || value);
        shared.make();
        shared
    }

    fn later(make: impl FnOnce() -> T + Send + 'static) -> Shared<T> {
        Shared(Arc::new(LazyLock::new(Box::new(make))))
    }

    /// A value that is made of constants, when it is first used. `how` tells it from others that are made of the same ones:
    /// within a [`Sharing`], there is one value of each kind.
    pub fn of(
        constants: &[&Arc<Tensor>],
        how: impl fmt::Debug,
        make: impl FnOnce() -> T + Send + 'static,
    ) -> Shared<T> {
        let key = Key::new::<T>(constants, how);
        find(&key).unwrap_or_else(|| remember(key, constants, Shared::later(make)))
    }

    /// As [`Shared::of`], made at once unless it is there.
    ///
    /// # Errors
    /// What `make` gives.
    pub fn try_of(
        constants: &[&Arc<Tensor>],
        how: impl fmt::Debug,
        make: impl FnOnce() -> TractResult<T>,
    ) -> TractResult<Shared<T>> {
        let key = Key::new::<T>(constants, how);
        match find(&key) {
            Some(shared) => Ok(shared),
            None => Ok(remember(key, constants, Shared::new(make()?))),
        }
    }

    /// Makes the value, unless it is there; what it is made of is given up.
    pub fn make(&self) {
        LazyLock::force(&self.0);
    }

    /// The same for all that share the value, and for no others.
    pub fn address(&self) -> usize {
        Arc::as_ptr(&self.0) as usize
    }
}

impl<T> Clone for Shared<T> {
    fn clone(&self) -> Self {
        Shared(self.0.clone())
    }
}

impl<T> std::ops::Deref for Shared<T> {
    type Target = T;
    fn deref(&self) -> &T {
        &self.0
    }
}

impl<T> PartialEq for Shared<T> {
    fn eq(&self, other: &Self) -> bool {
        Arc::ptr_eq(&self.0, &other.0)
    }
}

impl<T> Eq for Shared<T> {}

impl<T> fmt::Debug for Shared<T> {
    fn fmt(&self, formatter: &mut fmt::Formatter) -> fmt::Result {
        formatter.write_str(std::any::type_name::<T>())
    }
}

/// While it lives, values that are made on this thread of the same constants in the same way are one.
pub struct Sharing(());

impl Sharing {
    /// Begins to share.
    pub fn begin() -> Sharing {
        MADE.with_borrow_mut(|made| *made = Some(HashMap::new()));
        Sharing(())
    }
}

impl Drop for Sharing {
    fn drop(&mut self) {
        MADE.with_borrow_mut(|made| *made = None);
    }
}

/// The kind of value, the addresses of what it is made of, and how.
#[derive(PartialEq, Eq, Hash)]
struct Key(TypeId, Vec<usize>, String);

impl Key {
    fn new<T: 'static>(constants: &[&Arc<Tensor>], how: impl fmt::Debug) -> Key {
        let addresses = constants.iter().map(|constant| Arc::as_ptr(constant) as usize).collect();
        Key(TypeId::of::<T>(), addresses, format!("{how:?}"))
    }
}

/// A value, and its constants, which keep their addresses from being those of others.
type Made = (Vec<Arc<Tensor>>, Box<dyn Any>);

thread_local! {
    static MADE: RefCell<Option<HashMap<Key, Made>>> = const { RefCell::new(None) };
}

fn find<T: 'static>(key: &Key) -> Option<Shared<T>> {
    MADE.with_borrow(|made| made.as_ref()?.get(key)?.1.downcast_ref::<Shared<T>>().cloned())
}

fn remember<T: 'static>(key: Key, constants: &[&Arc<Tensor>], shared: Shared<T>) -> Shared<T> {
    MADE.with_borrow_mut(|made| {
        if let Some(made) = made {
            let constants = constants.iter().map(|constant| (*constant).clone()).collect();
            made.insert(key, (constants, Box::new(shared.clone())));
        }
    });
    shared
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::atomic::{AtomicUsize, Ordering};
    use tract_core::prelude::{IntoArcTensor, tensor0};

    #[test]
    fn made_once_and_given_up() {
        let constants = [tensor0(1f32).into_arc_tensor(), tensor0(1f32).into_arc_tensor()];
        let count = Arc::new(AtomicUsize::new(0));
        let make = |constant: usize, how: bool| {
            let (held, count) = (constants[constant].clone(), count.clone());
            Shared::of(&[&constants[constant]], how, move || {
                count.fetch_add(1, Ordering::Relaxed);
                (held.shape().len(), how)
            })
        };
        let sharing = Sharing::begin();
        let cases = [(0, true, true), (0, false, false), (1, true, false)];
        let first = make(0, true);
        for (constant, how, same) in cases {
            assert_eq!(make(constant, how) == first, same, "{constant} {how}");
        }
        drop(sharing);
        assert!(make(0, true) != first, "nothing is shared any more");
        assert_eq!((count.load(Ordering::Relaxed), Arc::strong_count(&constants[0])), (0, 2), "nothing is made yet");
        assert_eq!((*first, *first), ((0, true), (0, true)));
        assert_eq!((count.load(Ordering::Relaxed), Arc::strong_count(&constants[0])), (1, 1));
    }
}
