//! Compilers: what is there, what is missing, and how programs are built with them.
