//! What every gRPC tool expects of a server: health, and descriptions of its services.

use tonic_health::pb::HealthCheckRequest;
use tonic_health::pb::health_check_response::ServingStatus;
use tonic_health::pb::health_client::HealthClient;
use tonic_reflection::pb::v1::ServerReflectionRequest;
use tonic_reflection::pb::v1::server_reflection_client::ServerReflectionClient;
use tonic_reflection::pb::v1::server_reflection_request::MessageRequest;
use tonic_reflection::pb::v1::server_reflection_response::MessageResponse;

use super::fake::Running;

#[tokio::test]
async fn health_and_reflection_answer() {
    let running = Running::start(None).await;
    for service in ["", "elastickv.Distribution", "elastickv.Cluster"] {
        let request = HealthCheckRequest { service: service.to_owned() };
        let health = HealthClient::new(running.channel()).check(request).await.unwrap().into_inner();
        assert_eq!(health.status(), ServingStatus::Serving, "{service}");
    }

    let asked = [
        MessageRequest::ListServices(String::new()),
        MessageRequest::FileContainingSymbol("elastickv.Distribution.SplitRange".to_owned()),
    ];
    let asked = asked.map(|message| ServerReflectionRequest { host: String::new(), message_request: Some(message) });
    let mut client = ServerReflectionClient::new(running.channel());
    let mut answers = client.server_reflection_info(futures::stream::iter(asked)).await.unwrap().into_inner();
    let mut next = async || answers.message().await.unwrap().unwrap().message_response.unwrap();
    let MessageResponse::ListServicesResponse(listed) = next().await else { panic!("asked for services") };
    let names: Vec<_> = listed.service.iter().map(|service| &*service.name).collect();
    assert!(names.contains(&"elastickv.Distribution") && names.contains(&"elastickv.Cluster"), "{names:?}");
    assert!(matches!(next().await, MessageResponse::FileDescriptorResponse(_)));
    drop(answers);
    running.stop().await;
}
