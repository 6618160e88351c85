//! The one error type. Every failure that reaches a caller, in Rust, on the command line or in JavaScript, is an [`Error`].

use serde::Serialize;

/// The result of anything that can fail.
pub type Result<T, E = Error> = std::result::Result<T, E>;

/// What kind of thing went wrong; stable names that callers may match on.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
pub enum ErrorCode {
    /// The model needs an operator, or a use of one, that is not supported.
    UnsupportedOp,
    /// The model, tokenizer or configuration file is not what it claims to be.
    InvalidModel,
    /// What the caller passed in does not fit: a name, a dtype, a shape, an option, a value.
    InvalidInput,
    /// The model and its activations do not fit in the memory that can be had.
    OutOfMemory,
    /// The GPU device was lost, or none could be had.
    DeviceLost,
    /// The caller asked to stop.
    Aborted,
    /// A file could not be fetched or read.
    NetworkError,
    /// A file's bytes do not match what was promised of them.
    IntegrityError,
    /// A defect in sottovoce itself: a panic that was caught.
    InternalError,
}

impl ErrorCode {
    /// The stable name of the code.
    pub fn name(self) -> &'static str {
        match self {
            ErrorCode::UnsupportedOp => "UnsupportedOp",
            ErrorCode::InvalidModel => "InvalidModel",
            ErrorCode::InvalidInput => "InvalidInput",
            ErrorCode::OutOfMemory => "OutOfMemory",
            ErrorCode::DeviceLost => "DeviceLost",
            ErrorCode::Aborted => "Aborted",
            ErrorCode::NetworkError => "NetworkError",
            ErrorCode::IntegrityError => "IntegrityError",
            ErrorCode::InternalError => "InternalError",
        }
    }
}

/// Where an error happened and what can be done about it. Fields that do not apply are `None`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct ErrorDetails {
    /// What kind of thing went wrong.
    pub code: ErrorCode,
    /// What is wrong, in a sentence.
    pub message: String,
    /// What was being done, e.g. `loading the model`.
    pub doing: Option<String>,
    /// Name of the graph node concerned.
    pub node: Option<String>,
    /// Operator concerned, with its domain when it is not ONNX's own.
    pub op: Option<String>,
    /// Name of the tensor concerned.
    pub tensor: Option<String>,
    /// File concerned.
    pub file: Option<String>,
    /// What the caller can do about it.
    pub remedy: Option<String>,
}

/// A typed error: a code, a sentence, what was being done, where, and a remedy.
///
/// ```
/// use sottovoce_base::error::{Error, ErrorCode};
/// let error = Error::invalid_input("expected int64, got float32").tensor("input_ids").remedy("pass int64 ids");
/// assert_eq!(error.code, ErrorCode::InvalidInput);
/// assert_eq!(error.to_string(), "expected int64, got float32 (tensor `input_ids`); pass int64 ids");
/// ```
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{}", self.sentence())]
pub struct Error(Box<ErrorDetails>);

impl std::ops::Deref for Error {
    type Target = ErrorDetails;
    fn deref(&self) -> &ErrorDetails {
        &self.0
    }
}

macro_rules! constructors {
    ($($(#[$doc:meta])* $name:ident => $code:ident),* $(,)?) => {
        $($(#[$doc])* pub fn $name(message: impl Into<String>) -> Error { Error::new(ErrorCode::$code, message) })*
    };
}

macro_rules! places {
    ($($(#[$doc:meta])* $name:ident),* $(,)?) => {
        $($(#[$doc])* pub fn $name(mut self, $name: impl Into<String>) -> Error {
            self.0.$name.get_or_insert_with(|| $name.into());
            self
        })*
    };
}

impl Error {
    /// An error of the given code.
    pub fn new(code: ErrorCode, message: impl Into<String>) -> Error {
        Error(Box::new(ErrorDetails {
            code,
            message: message.into(),
            doing: None,
            node: None,
            op: None,
            tensor: None,
            file: None,
            remedy: None,
        }))
    }

    constructors! {
        /// [`ErrorCode::UnsupportedOp`].
        unsupported_op => UnsupportedOp,
        /// [`ErrorCode::InvalidModel`].
        invalid_model => InvalidModel,
        /// [`ErrorCode::InvalidInput`].
        invalid_input => InvalidInput,
        /// [`ErrorCode::OutOfMemory`].
        out_of_memory => OutOfMemory,
        /// [`ErrorCode::DeviceLost`].
        device_lost => DeviceLost,
        /// [`ErrorCode::Aborted`].
        aborted => Aborted,
        /// [`ErrorCode::NetworkError`].
        network => NetworkError,
        /// [`ErrorCode::IntegrityError`].
        integrity => IntegrityError,
        /// [`ErrorCode::InternalError`].
        internal => InternalError,
    }

    places! {
        /// Says what was being done, unless already said closer to the failure.
        doing,
        /// Names the node, unless already named closer to the failure.
        node,
        /// Names the operator, unless already named closer to the failure.
        op,
        /// Names the tensor, unless already named closer to the failure.
        tensor,
        /// Names the file, unless already named closer to the failure.
        file,
        /// Says what the caller can do, unless already said closer to the failure.
        remedy,
    }

    fn sentence(&self) -> String {
        let mut text = String::new();
        if let Some(doing) = &self.doing {
            text.push_str(doing);
            text.push_str(": ");
        }
        text.push_str(&self.message);
        let places = [("op", &self.op), ("node", &self.node), ("tensor", &self.tensor), ("file", &self.file)];
        let places: Vec<String> =
            places.iter().filter_map(|(what, name)| name.as_ref().map(|name| format!("{what} `{name}`"))).collect();
        if !places.is_empty() {
            text.push_str(&format!(" ({})", places.join(", ")));
        }
        if let Some(remedy) = &self.remedy {
            text.push_str("; ");
            text.push_str(remedy);
        }
        text
    }
}
