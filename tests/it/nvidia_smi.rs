//! nvidia-smi as the second source: a stand-in of it first on the program's PATH.

mod card;
mod child;
mod stand_in;
