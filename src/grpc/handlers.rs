//! How a service is made of handlers.
//!
//! Promises that an audited call reaches its handler as an [`AuditedCall`](super::audited_call), and
//! that a call goes on when its caller does not.

/// Implements tonic's trait from handlers, a line for each RPC. The crate compiles only if the table of
/// methods says that its calls are audited. The handler is given the [`AuditedCall`], and must return a
/// [`Closed`]. `dry_run_of` stands for a call whose request may ask for a dry run.
macro_rules! implement {
    ($service:ident for $handlers:ident {
        $($kind:ident $rpc:ident($method:ident, $request:ident) -> $response:ident = $handler:ident;)*
    }) => {
        $($crate::grpc::handlers::implement!(@check $kind $method);)*

        #[tonic::async_trait]
        impl $service for $handlers {
            $(
                async fn $rpc(
                    &self,
                    request: tonic::Request<proto::$request>,
                ) -> Result<tonic::Response<proto::$response>, tonic::Status> {
                    $crate::grpc::handlers::implement!(@$kind $method, self, request, $handler)
                }
            )*
        }
    };
    (@check audited $method:ident) => {
        const _: () = assert!($crate::grpc::methods::Method::$method.audited_as().is_some(), "its row has no audit");
    };
    (@check dry_run_of $method:ident) => {
        $crate::grpc::handlers::implement!(@check audited $method);
    };
    (@audited $method:ident, $self:ident, $request:ident, $handler:ident) => {
        $crate::grpc::handlers::implement!(@take_up false, $self, $request, $handler)
    };
    (@dry_run_of $method:ident, $self:ident, $request:ident, $handler:ident) => {
        $crate::grpc::handlers::implement!(@take_up $request.get_ref().dry_run, $self, $request, $handler)
    };
    (@take_up $is_dry_run:expr, $self:ident, $request:ident, $handler:ident) => {{
        let call = $crate::grpc::audited_call::AuditedCall::take_up(
            &$request, $is_dry_run, &$self.app.admin_slots).await?;
        let caller = call.waiting_caller();
        let closed = $self.clone().$handler(call, $request.into_inner());
        let closed = $crate::grpc::writes::run_to_its_end(caller, closed).await?;
        closed.into_answer().map(tonic::Response::new)
    }};
}

pub(super) use implement;
