//! What `deploy/` promises, without a cluster: the manifests as `kubectl` builds them, the probes
//! as Kubernetes runs them, and what the image is built from.

mod image;
mod network;
mod pods;
mod probes;
mod replicas;
