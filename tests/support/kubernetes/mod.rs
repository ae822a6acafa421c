//! Kubernetes manifests and pods, tested without a cluster.

pub mod chart;
pub mod manifests;
pub mod pods;
