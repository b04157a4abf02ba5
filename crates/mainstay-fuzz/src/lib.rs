//! What the fuzz targets of Mainstay's crates share. A target is a test: `cargo test` runs it on its corpus and on some
//! thousand random inputs, `make fuzz` runs the same test under libFuzzer, which is led by the code that an input reaches.
//!
//! An input is bytes, and a target reads them as a [`Script`]: which request to make, how to sign it, what to change in
//! it afterwards. So a byte that the fuzzer changes is a choice that changes, and few inputs end at the first check.
//!
//! To add a target: a test in a module called `fuzz` with [`target!`] in it; `make fuzz` finds it by that name. Inputs
//! worth keeping stand beside the module, in `__fuzz__/<name of the test>/corpus`.

mod json;
mod script;

pub use bolero;
pub use script::Script;

/// Random inputs of each target in an ordinary run of the tests.
pub const ITERATIONS: usize = 2_000;
/// Bytes of the longest input, unless the target says otherwise.
pub const BYTES_MAX: usize = 1_024;

/// Runs a function of a [`Script`] over the corpus and over random inputs, or under the fuzzer.
///
/// `target!(function)`, `target!(function, iterations = 200)`, `target!(function, bytes = 4_096)`, or both in this order.
#[macro_export]
macro_rules! target {
    ($run:path) => {
        $crate::target!(
            $run,
            iterations = $crate::ITERATIONS,
            bytes = $crate::BYTES_MAX
        )
    };
    ($run:path, iterations = $iterations:expr) => {
        $crate::target!($run, iterations = $iterations, bytes = $crate::BYTES_MAX)
    };
    ($run:path, bytes = $bytes:expr) => {
        $crate::target!($run, iterations = $crate::ITERATIONS, bytes = $bytes)
    };
    ($run:path, iterations = $iterations:expr, bytes = $bytes:expr) => {
        $crate::bolero::check!()
            .with_iterations($iterations)
            .with_max_len($bytes)
            .for_each(|input: &[u8]| $run(&mut $crate::Script::new(input)))
    };
}
