//! Manifests and pods, without Kubernetes.

pub mod manifests;
pub mod pods;
