//! The files in `deploy/`, tested without a cluster: the manifests that `kubectl` builds and Helm renders, the probes,
//! the image, the systemd unit, the alerts and the dashboard. And Envoy's configurations, with the real Envoy.

mod gateway;
mod helm;
mod image;
mod load_balancer;
mod monitoring;
mod network;
mod outages;
mod pods;
mod probes;
mod replicas;
mod systemd;
