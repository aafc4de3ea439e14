{{- define "dedup.fullname" -}}
{{- if contains .Chart.Name .Release.Name -}}
{{- .Release.Name | trunc 53 | trimSuffix "-" -}}
{{- else -}}
{{- printf "%s-%s" .Release.Name .Chart.Name | trunc 53 | trimSuffix "-" -}}
{{- end -}}
{{- end -}}

{{- define "dedup.selector" -}}
app.kubernetes.io/name: {{ .Chart.Name }}
app.kubernetes.io/instance: {{ .Release.Name }}
app.kubernetes.io/component: service
{{- end -}}

{{- define "dedup.labels" -}}
{{ include "dedup.selector" . }}
app.kubernetes.io/version: {{ .Chart.AppVersion | quote }}
app.kubernetes.io/managed-by: {{ .Release.Service }}
helm.sh/chart: {{ printf "%s-%s" .Chart.Name .Chart.Version }}
{{- end -}}

{{/* Labels of what runs alongside the service; called with the context and a component. */}}
{{- define "dedup.componentLabels" -}}
app.kubernetes.io/name: {{ .context.Chart.Name }}
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
{{- with .Values.image -}}
{{- if .digest -}}
{{- printf "%s@%s" .repository .digest -}}
{{- else -}}
{{- printf "%s:%s" .repository (.tag | default $.Chart.AppVersion) -}}
{{- end -}}
{{- end -}}
{{- end -}}

{{- define "dedup.mode" -}}
{{- .Values.settings.mode | default "drop" -}}
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

{{- define "dedup.env" -}}
{{- range $setting, $value := .Values.settings }}
- name: DEDUP_{{ upper $setting }}
  value: {{ include "dedup.text" $value | quote }}
{{- end }}
{{- range $setting, $key := include "dedup.secretKeys" . | fromYaml }}
- name: DEDUP_{{ upper $setting }}
  valueFrom:
    secretKeyRef:
      name: {{ include "dedup.secretName" $ }}
      key: {{ $key }}
{{- end }}
{{- if .Values.valkey.enabled }}
- name: DEDUP_REDIS_URL
  value: redis://{{ include "dedup.fullname" . }}-valkey:6379/0
{{- end }}
{{- if .Values.config }}
- name: DEDUP_CONFIG_FILE
  value: /etc/dedup/groups.yaml
{{- end }}
{{- if .Values.caBundle.configMap }}
- name: DEDUP_CA_FILE
  value: /etc/dedup-ca/{{ .Values.caBundle.key }}
{{- end }}
{{- with .Values.extraEnv }}
{{ toYaml . }}
{{- end }}
{{- end -}}

{{- define "dedup.volumeMounts" -}}
{{- if .Values.config }}
- {name: config, mountPath: /etc/dedup, readOnly: true}
{{- end }}
{{- if .Values.caBundle.configMap }}
- {name: ca, mountPath: /etc/dedup-ca, readOnly: true}
{{- end }}
{{- if .Values.secretsStore.enabled }}
- {name: vault, mountPath: /mnt/vault, readOnly: true}
{{- end }}
{{- end -}}

{{- define "dedup.volumes" -}}
{{- if .Values.config }}
- name: config
  configMap:
    name: {{ include "dedup.fullname" . }}
{{- end }}
{{- if .Values.caBundle.configMap }}
- name: ca
  configMap:
    name: {{ .Values.caBundle.configMap }}
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

{{- define "dedup.podSecurityContext" -}}
runAsNonRoot: true
runAsUser: 10001
runAsGroup: 10001
fsGroup: 10001
seccompProfile:
  type: RuntimeDefault
{{- end -}}

{{- define "dedup.securityContext" -}}
allowPrivilegeEscalation: false
readOnlyRootFilesystem: true
capabilities:
  drop: [ALL]
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
