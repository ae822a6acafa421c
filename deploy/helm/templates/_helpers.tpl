{{/* The name of every object. A StatefulSet's name may have 52 characters, because its pods carry it in a label. */}}
{{- define "keyservice.fullname" -}}
{{- if .Values.fullnameOverride -}}
{{ .Values.fullnameOverride }}
{{- else if contains "keyservice" .Release.Name -}}
{{ .Release.Name | trunc 52 | trimSuffix "-" }}
{{- else -}}
{{ printf "%s-keyservice" (.Release.Name | trunc 41 | trimSuffix "-") }}
{{- end -}}
{{- end }}

{{/* What selects the pods of this release. It can never change. */}}
{{- define "keyservice.selectorLabels" -}}
app.kubernetes.io/name: keyservice
app.kubernetes.io/instance: {{ .Release.Name }}
{{- end }}

{{- define "keyservice.labels" -}}
{{ include "keyservice.selectorLabels" . }}
app.kubernetes.io/version: {{ .Chart.AppVersion | quote }}
app.kubernetes.io/managed-by: {{ .Release.Service }}
helm.sh/chart: {{ printf "%s-%s" .Chart.Name .Chart.Version | replace "+" "_" }}
{{- end }}

{{/* What the metadata of every object has beside its name. */}}
{{- define "keyservice.metadata" -}}
namespace: {{ .Release.Namespace }}
labels:
  {{- include "keyservice.labels" . | nindent 2 }}
{{- end }}

{{- define "keyservice.serviceAccountName" -}}
{{ .Values.serviceAccount.name | default (include "keyservice.fullname" .) }}
{{- end }}

{{- define "keyservice.image" -}}
{{- with .Values.image -}}
{{- if .digest -}}
{{ .repository }}@{{ .digest }}
{{- else -}}
{{ .repository }}:{{ .tag | default $.Chart.AppVersion }}
{{- end -}}
{{- end -}}
{{- end }}

{{- define "keyservice.replicas" -}}
{{ .Values.replicas | default (ternary 1 3 (eq .Values.store.kind "sqlite")) }}
{{- end }}

{{/* Refuses values that each are right and together are not. The schema refuses the others. */}}
{{- define "keyservice.validate" -}}
{{- $v := .Values -}}
{{- if not $v.image.repository -}}
{{- fail "Set image.repository to where you have pushed the image, for example registry.example.com/keyservice." -}}
{{- end -}}
{{- if and $v.image.tag $v.image.digest -}}
{{- fail "Set image.tag or image.digest, and not both: the digest alone would count." -}}
{{- end -}}
{{- if eq $v.store.kind "sqlite" -}}
{{- if ne (include "keyservice.replicas" . | int) 1 -}}
{{- fail "SQLite serves one process at a time, so replicas must be 1. For more, set store.kind to postgres." -}}
{{- end -}}
{{- if $v.autoscaling.enabled -}}
{{- fail "SQLite serves one process at a time, so autoscaling.enabled must be false. For more replicas, set store.kind to postgres." -}}
{{- end -}}
{{- end -}}
{{- if $v.autoscaling.enabled -}}
{{- if $v.replicas -}}
{{- fail "With autoscaling.enabled, autoscaling.minReplicas and autoscaling.maxReplicas count, so leave replicas unset." -}}
{{- end -}}
{{- if gt (int $v.autoscaling.minReplicas) (int $v.autoscaling.maxReplicas) -}}
{{- fail "autoscaling.minReplicas must not be above autoscaling.maxReplicas." -}}
{{- end -}}
{{- if not (dig "requests" "cpu" "" $v.resources) -}}
{{- fail "autoscaling.targetCPU is a part of resources.requests.cpu, so set that too." -}}
{{- end -}}
{{- end -}}
{{- if and $v.tls.clientRevocationList (not $v.tls.clientCertificates) -}}
{{- fail "tls.clientRevocationList needs tls.clientCertificates: without it, no certificate is accepted." -}}
{{- end -}}
{{- if not (or $v.serviceAccount.create $v.serviceAccount.name) -}}
{{- fail "Set serviceAccount.name to a ServiceAccount that exists, or serviceAccount.create to true." -}}
{{- end -}}
{{- range $peers := list "callers" "prometheus" "dns" -}}
{{- if not (get $v.networkPolicy $peers) -}}
{{- fail (printf "networkPolicy.%s must name somebody: a rule without a peer admits everybody." $peers) -}}
{{- end -}}
{{- end -}}
{{- if $v.traces.endpoint -}}
{{- /* The schema would repeat what was given. */ -}}
{{- if not (regexMatch "^https?://[^/@\\s]+:[0-9]+$" $v.traces.endpoint) -}}
{{- fail "traces.endpoint must be a scheme, a host and a port, and hold no password: http://otel-collector.monitoring.svc:4317" -}}
{{- end -}}
{{- if and $v.traces.caSecret (not (hasPrefix "https://" $v.traces.endpoint)) -}}
{{- fail "With traces.caSecret, traces.endpoint must begin with https://: otherwise nothing is verified." -}}
{{- end -}}
{{- if not $v.traces.to -}}
{{- fail "traces.to must name the collector: a rule without a peer admits everybody." -}}
{{- end -}}
{{- end -}}
{{- range $v.extraEnv -}}
{{- if hasPrefix "KEYSERVICE_" .name -}}
{{- fail (printf "extraEnv must not name %s. Settings stand in `settings`, and the chart sets the others by values of their own." .name) -}}
{{- end -}}
{{- if eq .name "OTEL_EXPORTER_OTLP_ENDPOINT" -}}
{{- fail "Set traces.endpoint in place of OTEL_EXPORTER_OTLP_ENDPOINT: it lets the pods reach the collector too." -}}
{{- end -}}
{{- if and (hasSuffix "_HEADERS" .name) (not .valueFrom) -}}
{{- fail (printf "%s may hold a password, so extraEnv must take it from a Secret: valueFrom." .name) -}}
{{- end -}}
{{- end -}}
{{- end }}

{{/* All variables of the container but extraEnv. */}}
{{- define "keyservice.env" -}}
{{- $v := .Values -}}
- name: KEYSERVICE_LISTEN
  value: {{ printf "%s:50051" $v.listenOn | quote }}
- name: KEYSERVICE_HEALTH_LISTEN
  value: {{ printf "%s:50052" $v.listenOn | quote }}
- name: KEYSERVICE_METRICS_LISTEN
  value: {{ printf "%s:9464" $v.listenOn | quote }}
- name: KEYSERVICE_TLS_CERT
  value: /etc/keyservice/tls/tls.crt
- name: KEYSERVICE_TLS_KEY
  value: /etc/keyservice/tls/tls.key
{{- if $v.tls.clientCertificates }}
- name: KEYSERVICE_TLS_CLIENT_CA
  value: /etc/keyservice/tls/ca.crt
{{- end }}
{{- if $v.tls.clientRevocationList }}
- name: KEYSERVICE_TLS_CLIENT_CRL
  value: /etc/keyservice/tls/ca.crl
{{- end }}
- name: KEYSERVICE_CREDENTIALS
  value: /etc/keyservice/credentials/credentials
{{- if $v.secrets.digestSecret }}
- name: KEYSERVICE_DIGEST_SECRET_FILE
  value: /etc/keyservice/digest-secret/digest-secret
{{- end }}
- name: KEYSERVICE_SHUTDOWN_DELAY
  value: {{ $v.shutdown.delaySeconds }}s
- name: KEYSERVICE_DRAIN_LIMIT
  value: {{ $v.shutdown.drainSeconds }}s
- name: KEYSERVICE_CREATE_STORE
  value: {{ ternary .Release.IsInstall $v.store.create (kindIs "invalid" $v.store.create) | quote }}
- name: KEYSERVICE_STORE
{{- if eq $v.store.kind "sqlite" }}
  value: sqlite:/var/lib/keyservice/keyservice.db
{{- else }}
  valueFrom:
    secretKeyRef:
      name: {{ $v.secrets.store }}
      key: address
{{- end }}
{{- range $name, $value := $v.settings }}
{{- if not (kindIs "invalid" $value) }}
- name: {{ $name }}
  # Helm reads whole numbers as floating-point ones, and would write a million as 1e+06.
  value: {{ ternary (printf "%.0f" $value) (toString $value) (kindIs "float64" $value) | quote }}
{{- end }}
{{- end }}
{{- with $v.traces.endpoint }}
- name: OTEL_EXPORTER_OTLP_ENDPOINT
  value: {{ . | quote }}
{{- end }}
{{- if $v.traces.caSecret }}
- name: OTEL_EXPORTER_OTLP_CERTIFICATE
  value: /etc/keyservice/collector/ca.crt
{{- end }}
{{- end }}

{{- define "keyservice.dnsEgress" -}}
- to:
    {{- toYaml .Values.networkPolicy.dns | nindent 4 }}
  ports:
    - port: 53
      protocol: UDP
    - port: 53
      protocol: TCP
{{- end }}
