{{- define "im.name" -}}
{{- .Release.Name | trunc 40 | trimSuffix "-" }}-imserver
{{- end }}

{{- define "im.labels" -}}
app.kubernetes.io/instance: {{ .Release.Name }}
app.kubernetes.io/part-of: imserver
app.kubernetes.io/managed-by: {{ .Release.Service }}
helm.sh/chart: {{ .Chart.Name }}-{{ .Chart.Version }}
{{- end }}

{{- define "im.select" -}}
app.kubernetes.io/instance: {{ .root.Release.Name }}
app.kubernetes.io/name: {{ .name }}
{{- end }}

{{- define "im.image" -}}
{{ .Values.image.repository }}:{{ .Values.image.tag | default .Chart.AppVersion }}
{{- end }}

{{/* The addresses of the NATS servers: scheme and port from the caller. */}}
{{- define "im.servers" -}}
{{- $all := list -}}
{{- range $n := until (int .root.Values.nats.replicas) -}}
{{- $host := printf "%s-nats-%d.%s-nats.%s.svc" (include "im.name" $.root) $n (include "im.name" $.root) $.root.Release.Namespace -}}
{{- $all = append $all (printf "%s://%s:%d" $.scheme $host (int $.port)) -}}
{{- end -}}
{{- join "," $all -}}
{{- end }}

{{/* As strict as deploy/systemd/imserver.service. */}}
{{- define "im.pod" -}}
automountServiceAccountToken: false
enableServiceLinks: false
{{- with .Values.imagePullSecrets }}
imagePullSecrets: {{ toYaml . | nindent 2 }}
{{- end }}
securityContext:
  runAsNonRoot: true
  runAsUser: 10001
  runAsGroup: 10001
  fsGroup: 10001
  fsGroupChangePolicy: OnRootMismatch
  seccompProfile: { type: RuntimeDefault }
{{- end }}

{{- define "im.container" -}}
securityContext:
  allowPrivilegeEscalation: false
  privileged: false
  readOnlyRootFilesystem: true
  capabilities: { drop: [ALL] }
{{- end }}

{{/* No two on one machine; over zones as evenly as it goes. */}}
{{- define "im.spread" -}}
topologySpreadConstraints:
  - maxSkew: 1
    topologyKey: kubernetes.io/hostname
    whenUnsatisfiable: DoNotSchedule
    labelSelector: { matchLabels: { {{ include "im.select" . | replace "\n" ", " }} } }
  - maxSkew: 1
    topologyKey: topology.kubernetes.io/zone
    whenUnsatisfiable: ScheduleAnyway
    labelSelector: { matchLabels: { {{ include "im.select" . | replace "\n" ", " }} } }
{{- end }}

{{- define "im.env" -}}
- name: IMSERVER_STORE__JETSTREAM__SERVERS
  value: {{ include "im.servers" (dict "root" . "scheme" "tls" "port" 4222) | quote }}
- name: IMSERVER_STORE__JETSTREAM__REPLICAS
  value: "3"
- name: IMSERVER_STORE__JETSTREAM__PARTITIONS
  value: {{ int .Values.partitions | quote }}
- name: IMSERVER_STORE__JETSTREAM__DEPLOYMENT
  value: {{ .Values.deployment | default (printf "%s/%s" .Release.Namespace .Release.Name) | quote }}
- name: IMSERVER_AUTH__KEYS
  value: /etc/imserver/keys/keys.json
- name: IMSERVER_SERVER__ORIGINS
  value: {{ join "," .Values.origins | quote }}
- name: IMSERVER_LIMITS__CONNECTIONS_PER_ADDRESS
  value: {{ .Values.service.connectionsPerAddress | quote }}
- name: IMSERVER_SERVER__PROXY_PROTOCOL
  value: {{ join "," .Values.service.proxyProtocol | quote }}
{{- range $name, $value := .Values.imserver.env }}
- name: {{ $name }}
  value: {{ $value | quote }}
{{- end }}
{{- end }}

{{- define "im.mounts" -}}
- { name: config, mountPath: /etc/imserver/config.toml, subPath: config.toml, readOnly: true }
- { name: certs, mountPath: /etc/imserver/certs, readOnly: true }
# The file itself: imserver takes no link for its key set. So a new one takes a restart.
- { name: keys, mountPath: /etc/imserver/keys/keys.json, subPath: keys.json, readOnly: true }
{{- end }}

{{/* What config.toml calls certs/. The files belong to root and to the group of the pod. */}}
{{- define "im.volumes" -}}
- name: config
  configMap: { name: {{ include "im.name" . }} }
- name: certs
  projected:
    defaultMode: 0440
    sources:
      - secret:
          name: {{ .Values.tls.secret }}
          items: [{ key: tls.crt, path: server.pem }, { key: tls.key, path: server.key }]
      - secret:
          name: {{ .Values.passwordsSecret }}
          items: [{ key: nats-password, path: nats-password }]
      - secret:
          name: {{ .Values.nats.tlsSecret }}
          items: [{ key: ca.crt, path: nats-ca.pem }]
- name: keys
  secret:
    secretName: {{ .Values.keysSecret }}
    defaultMode: 0440
    items: [{ key: keys.json, path: keys.json }]
{{- end }}
