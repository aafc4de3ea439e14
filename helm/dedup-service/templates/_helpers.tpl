{{- define "dedup.name" -}}
{{- .Values.nameOverride | default .Chart.Name -}}
{{- end -}}

{{- define "dedup.fullname" -}}
{{- $name := include "dedup.name" . -}}
{{- if .Values.fullnameOverride -}}
{{- .Values.fullnameOverride -}}
{{- else if contains $name .Release.Name -}}
{{- .Release.Name | trunc 53 | trimSuffix "-" -}}
{{- else -}}
{{- printf "%s-%s" .Release.Name $name | trunc 53 | trimSuffix "-" -}}
{{- end -}}
{{- end -}}

{{- define "dedup.selector" -}}
app.kubernetes.io/name: {{ include "dedup.name" . }}
app.kubernetes.io/instance: {{ .Release.Name }}
app.kubernetes.io/component: service
{{- end -}}

{{- define "dedup.labels" -}}
{{ include "dedup.selector" . }}
app.kubernetes.io/version: {{ include "dedup.labelValue" .Chart.AppVersion | quote }}
app.kubernetes.io/managed-by: {{ .Release.Service }}
helm.sh/chart: {{ include "dedup.labelValue" (printf "%s-%s" .Chart.Name .Chart.Version) }}
{{- include "dedup.commonLabels" . }}
{{- end -}}

{{- define "dedup.commonLabels" -}}
{{- with .Values.commonLabels }}
{{ toYaml . }}
{{- end }}
{{- end -}}

{{/* A version as a label: without the + of a build. */}}
{{- define "dedup.labelValue" -}}
{{- . | replace "+" "_" | trunc 63 | trimAll "-_." -}}
{{- end -}}

{{/* Labels by which what runs alongside the service is selected; called with the context and a component. */}}
{{- define "dedup.componentLabels" -}}
app.kubernetes.io/name: {{ include "dedup.name" .context }}
app.kubernetes.io/instance: {{ .context.Release.Name }}
app.kubernetes.io/component: {{ .component }}
{{- end -}}

{{- define "dedup.serviceAccount" -}}
{{- if .Values.serviceAccount.create -}}
{{- .Values.serviceAccount.name | default (include "dedup.fullname" .) -}}
{{- else -}}
{{- .Values.serviceAccount.name | default "default" -}}
{{- end -}}
{{- end -}}

{{- define "dedup.image" -}}
{{- $image := printf "%s:%s" .Values.image.repository (.Values.image.tag | default .Chart.AppVersion) -}}
{{- with .Values.image.digest -}}
{{- $image = printf "%s@%s" $.Values.image.repository . -}}
{{- end -}}
{{- include "dedup.fromRegistry" (dict "context" . "image" $image) -}}
{{- end -}}

{{/* An image, from imageRegistry if there is one; called with the context and the image. */}}
{{- define "dedup.fromRegistry" -}}
{{- with .context.Values.imageRegistry -}}
{{- printf "%s/%s" . (regexReplaceAll "^[^/]*[.:][^/]*/" $.image "") -}}
{{- else -}}
{{- .image -}}
{{- end -}}
{{- end -}}

{{- define "dedup.mode" -}}
{{- .Values.settings.mode | default "drop" -}}
{{- end -}}

{{- define "dedup.scheme" -}}
{{- if .Values.tls.secretName }}https{{ else }}http{{ end -}}
{{- end -}}

{{- define "dedup.httpPort" -}}
{{- .Values.settings.http_port | default 8000 -}}
{{- end -}}

{{- define "dedup.secretName" -}}
{{- if .Values.secretsStore.enabled -}}
{{- printf "%s-vault" (include "dedup.fullname" .) -}}
{{- else -}}
{{- .Values.secrets.existingSecret -}}
{{- end -}}
{{- end -}}

{{/* A map from each setting to its key in the Secret. */}}
{{- define "dedup.secretKeys" -}}
{{- if .Values.secretsStore.enabled -}}
{{- range $setting, $_ := .Values.secretsStore.objects }}
{{ $setting }}: {{ $setting | replace "_" "-" }}
{{- end -}}
{{- else -}}
{{- toYaml .Values.secrets.keys -}}
{{- end -}}
{{- end -}}

{{/* A value as text. A number that Helm read as a float is written in full, not as 8.64e+04. */}}
{{- define "dedup.text" -}}
{{- if kindIs "float64" . -}}
{{- if eq (floor .) . -}}{{- int64 . -}}{{- else -}}{{- . -}}{{- end -}}
{{- else -}}
{{- . -}}
{{- end -}}
{{- end -}}

{{/* The configuration file. The round trip brings a group of its own, which is the first, so that no other takes its devices;
nobody misses these afterwards. */}}
{{- define "dedup.config" -}}
{{- $config := .Values.config -}}
{{- if .Values.tests.roundTrip -}}
{{- $own := dict "name" "dedup-check" "devices" (list "dedup-check-*") "sources" (list "urn:redundant-edge-dedup:check") "format" "cloudevents" "silent_after_seconds" 3153600000 -}}
{{- $groups := dig "groups" (list (dict "name" "default")) $config -}}
{{- $config = merge (dict "groups" (prepend $groups $own)) $config -}}
{{- end -}}
{{- with $config }}{{ toYaml . }}{{ end -}}
{{- end -}}

{{/* The replicas of a deployment that is scaled by something else stay as they are: a number that went away would be 1. Nothing
is known of them where only manifests are rendered. */}}
{{- define "dedup.replicas" -}}
{{- if or .Values.autoscaling.hpa.enabled .Values.autoscaling.keda.enabled -}}
{{- dig "spec" "replicas" "" (lookup "apps/v1" "Deployment" .Release.Namespace (include "dedup.fullname" .)) -}}
{{- else -}}
{{- .Values.replicaCount -}}
{{- end -}}
{{- end -}}

{{- define "dedup.valkeyPassword" -}}
- name: {{ .variable }}
  valueFrom:
    secretKeyRef:
      name: {{ .context.Values.valkey.existingSecret }}
      key: {{ .context.Values.valkey.passwordKey }}
{{- end -}}

{{- define "dedup.env" -}}
{{- range $setting, $value := .Values.settings }}
- name: DEDUP_{{ upper $setting }}
  value: {{ include "dedup.text" $value | quote }}
{{- end }}
{{- if and .Values.autoscaling.keda.enabled (not (hasKey .Values.settings "checkpoint_interval_seconds")) }}
- name: DEDUP_CHECKPOINT_INTERVAL_SECONDS # KEDA takes for unprocessed what came since the last checkpoint
  value: "1"
{{- end }}
{{- range $setting, $key := include "dedup.secretKeys" . | fromYaml }}
- name: DEDUP_{{ upper $setting }}
  valueFrom:
    secretKeyRef:
      name: {{ include "dedup.secretName" $ }}
      key: {{ $key }}
{{- end }}
{{- if .Values.valkey.enabled }}
{{ include "dedup.valkeyPassword" (dict "context" . "variable" "VALKEY_PASSWORD") }}
- name: DEDUP_REDIS_URL
  value: redis://:$(VALKEY_PASSWORD)@{{ include "dedup.fullname" . }}-valkey:6379/0
{{- end }}
{{- if include "dedup.config" . }}
- name: DEDUP_CONFIG_FILE
  value: /etc/dedup/groups.yaml
{{- end }}
{{- if .Values.caBundle.configMap }}
- name: DEDUP_CA_FILE
  value: /etc/dedup-ca/{{ .Values.caBundle.key }}
{{- end }}
{{- if .Values.tls.secretName }}
- name: DEDUP_HTTP_CERTIFICATE
  value: /etc/dedup-tls/tls.crt
- name: DEDUP_HTTP_PRIVATE_KEY
  value: /etc/dedup-tls/tls.key
{{- end }}
{{- with .Values.extraEnv }}
{{ toYaml . }}
{{- end }}
{{- end -}}

{{/* A pod starts anew when what it has mounted changes. */}}
{{- define "dedup.podAnnotations" -}}
{{- with include "dedup.config" . }}
checksum/config: {{ sha256sum . }}
{{- end }}
{{- if .Values.secretsStore.enabled }}
checksum/vault: {{ toYaml .Values.secretsStore | sha256sum }}
{{- end }}
{{- with .Values.podAnnotations }}
{{ toYaml . }}
{{- end }}
{{- end -}}

{{- define "dedup.volumeMounts" -}}
- {name: tmp, mountPath: /tmp}
{{- if include "dedup.config" . }}
- {name: config, mountPath: /etc/dedup, readOnly: true}
{{- end }}
{{- if .Values.caBundle.configMap }}
- {name: ca, mountPath: /etc/dedup-ca, readOnly: true}
{{- end }}
{{- if .Values.tls.secretName }}
- {name: tls, mountPath: /etc/dedup-tls, readOnly: true}
{{- end }}
{{- if .Values.secretsStore.enabled }}
- {name: vault, mountPath: /mnt/vault, readOnly: true}
{{- end }}
{{- end -}}

{{- define "dedup.volumes" -}}
- name: tmp
  emptyDir: {sizeLimit: 64Mi}
{{- if include "dedup.config" . }}
- name: config
  configMap:
    name: {{ include "dedup.fullname" . }}
{{- end }}
{{- if .Values.caBundle.configMap }}
- name: ca
  configMap:
    name: {{ .Values.caBundle.configMap }}
{{- end }}
{{- if .Values.tls.secretName }}
- name: tls
  secret:
    secretName: {{ .Values.tls.secretName }}
{{- end }}
{{- if .Values.secretsStore.enabled }}
- name: vault
  csi:
    driver: secrets-store.csi.k8s.io
    readOnly: true
    volumeAttributes:
      secretProviderClass: {{ include "dedup.fullname" . }}
{{- end }}
{{- end -}}

{{/* What every pod of the chart has, whatever runs in it. */}}
{{- define "dedup.pod" -}}
automountServiceAccountToken: false
enableServiceLinks: false
{{- with .Values.imagePullSecrets }}
imagePullSecrets: {{- toYaml . | nindent 2 }}
{{- end }}
{{- with .Values.priorityClassName }}
priorityClassName: {{ . }}
{{- end }}
{{- with .Values.nodeSelector }}
nodeSelector: {{- toYaml . | nindent 2 }}
{{- end }}
{{- with .Values.tolerations }}
tolerations: {{- toYaml . | nindent 2 }}
{{- end }}
{{- with .Values.affinity }}
affinity: {{- toYaml . | nindent 2 }}
{{- end }}
{{- with .Values.dnsConfig }}
dnsConfig: {{- toYaml . | nindent 2 }}
{{- end }}
{{- with .Values.hostAliases }}
hostAliases: {{- toYaml . | nindent 2 }}
{{- end }}
securityContext: {{- toYaml .Values.podSecurityContext | nindent 2 }}
{{- end -}}

{{/* The service's pods spread over nodes and zones, unless the values say otherwise. */}}
{{- define "dedup.spread" -}}
{{- $selector := dict "matchLabels" (include "dedup.selector" . | fromYaml) -}}
{{- if not .Values.affinity }}
affinity:
  podAntiAffinity:
    preferredDuringSchedulingIgnoredDuringExecution:
      - weight: 100
        podAffinityTerm:
          topologyKey: kubernetes.io/hostname
          labelSelector: {{- toYaml $selector | nindent 12 }}
{{- end }}
topologySpreadConstraints:
{{- range .Values.topologySpreadConstraints | default (list (dict "maxSkew" 1 "topologyKey" "topology.kubernetes.io/zone" "whenUnsatisfiable" "ScheduleAnyway")) }}
  - {{- toYaml (ternary . (merge (dict "labelSelector" $selector) .) (hasKey . "labelSelector")) | nindent 4 }}
{{- end }}
{{- end -}}

{{- define "dedup.strategy" -}}
{{- if eq .Values.strategy.type "Recreate" -}}
type: Recreate
{{- else -}}
type: RollingUpdate
rollingUpdate:
  maxUnavailable: 0
  maxSurge: 1
{{- end -}}
{{- end -}}
