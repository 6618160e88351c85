//! Weights that operators share, in one plan and between the plans of one model.

use std::any::{Any, TypeId};
use std::cell::RefCell;
use std::collections::HashMap;
use std::fmt;
use std::sync::{Arc, LazyLock};
use tract_core::internal::{DatumType, Tensor, TractResult};

/// A weight that operators share, made when it is first used. Equal when it is the same one in memory: comparing the elements
/// would cost more than it could save.
pub struct Shared<T>(Arc<Held<T>>);

struct Held<T> {
    value: LazyLock<T, Make<T>>,
    /// How it is made, and of which types of constants, where it is made of constants.
    way: Option<String>,
}

type Make<T> = Box<dyn FnOnce() -> T + Send>;

impl<T: Send + Sync + 'static> Shared<T> {
    /// Shares a value.
    pub fn new(value: T) -> Shared<T> {
        let shared = Shared::later(None, move || value);
        shared.make();
        shared
    }

    fn later(way: Option<String>, make: impl FnOnce() -> T + Send + 'static) -> Shared<T> {
        Shared(Arc::new(Held { value: LazyLock::new(Box::new(make)), way }))
    }

    /// A value that is made of constants, when it is first used. `how` tells it from others that are made of the same ones:
    /// within a [`Sharing`], there is one value of each kind.
    pub fn of(
        constants: &[&Arc<Tensor>],
        how: impl fmt::Debug,
        make: impl FnOnce() -> T + Send + 'static,
    ) -> Shared<T> {
        let types: Vec<DatumType> = constants.iter().map(|constant| constant.datum_type()).collect();
        let way = Some(format!("{how:?} of {types:?}"));
        let key = Key::new::<T>(constants, how);
        find(&key).unwrap_or_else(|| remember(key, owned(constants), Shared::later(way, make)))
    }

    /// A value that is made of others, which it gives up when it is first used. Within a [`Sharing`], there is one of the same
    /// others.
    pub fn of_others(others: &[Shared<T>], make: impl FnOnce(&[&T]) -> T + Send + 'static) -> Shared<T> {
        let addresses = others.iter().map(Shared::address).collect();
        let key = Key(TypeId::of::<T>(), addresses, "others".into());
        let (held, kept) = (others.to_vec(), others.to_vec());
        let make = move || make(&held.iter().map(|other| &**other).collect::<Vec<_>>());
        find(&key).unwrap_or_else(|| remember(key, kept, Shared::later(None, make)))
    }

    /// Whether both are made of constants of the same types in the same way.
    pub fn is_made_like(&self, other: &Shared<T>) -> bool {
        self.0.way.is_some() && self.0.way == other.0.way
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
            None => Ok(remember(key, owned(constants), Shared::new(make()?))),
        }
    }

    /// Makes the value, unless it is there; what it is made of is given up.
    pub fn make(&self) {
        LazyLock::force(&self.0.value);
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
        &self.0.value
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

fn owned(constants: &[&Arc<Tensor>]) -> Vec<Arc<Tensor>> {
    constants.iter().map(|constant| (*constant).clone()).collect()
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

/// A value, and what it is made of, so that nothing else gets the addresses of that.
type Made = (Box<dyn Any>, Box<dyn Any>);

thread_local! {
    static MADE: RefCell<Option<HashMap<Key, Made>>> = const { RefCell::new(None) };
}

fn find<T: 'static>(key: &Key) -> Option<Shared<T>> {
    MADE.with_borrow(|made| made.as_ref()?.get(key)?.1.downcast_ref::<Shared<T>>().cloned())
}

fn remember<T: 'static>(key: Key, made_of: impl Any, shared: Shared<T>) -> Shared<T> {
    MADE.with_borrow_mut(|made| {
        if let Some(made) = made {
            made.insert(key, (Box::new(made_of), Box::new(shared.clone())));
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

    #[test]
    fn made_of_others() {
        let constant = tensor0(1f32).into_arc_tensor();
        let part = |how: usize| {
            let held = constant.clone();
            Shared::of(&[&constant], how, move || held.shape().len() + how)
        };
        let parts = [part(3), part(4)];
        let sum = |parts: &[Shared<usize>]| Shared::of_others(parts, |parts| parts.iter().copied().sum());
        let sharing = Sharing::begin();
        let whole = sum(&parts);
        assert_eq!((sum(&parts) == whole, sum(&parts[..1]) == whole), (true, false));
        drop((sharing, parts));
        assert_eq!(Arc::strong_count(&constant), 3, "nothing is made yet");
        assert_eq!((*whole, Arc::strong_count(&constant)), (7, 1));
    }

    #[test]
    fn ways_of_making() {
        let [float, integer] = [tensor0(1f32).into_arc_tensor(), tensor0(1u8).into_arc_tensor()];
        let first = Shared::of(&[&float], "first", || 1);
        let cases = [
            (Shared::of(&[&tensor0(2f32).into_arc_tensor()], "first", || 2), true),
            (Shared::of(&[&float], "second", || 3), false),
            (Shared::of(&[&integer], "first", || 4), false),
            (Shared::new(5), false),
            (Shared::of_others(std::slice::from_ref(&first), |_| 6), false),
        ];
        for (other, alike) in cases {
            assert_eq!(first.is_made_like(&other), alike, "{}", *other);
        }
    }
}
