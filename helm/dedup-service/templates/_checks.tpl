{{/* Checks that a schema can't express, or could not report helpfully. Every message names the value. */}}
{{- define "dedup.checks" -}}
{{- $keys := include "dedup.secretKeys" . | fromYaml -}}
{{- $settings := .Values.settings -}}
{{- $required := list "checkpoint_url" -}}
{{- if not (dig "inputs" false .Values.config) -}}
{{- $required = concat $required (list "input_connection_string" "input_consumer_group") -}}
{{- end -}}
{{- if not .Values.valkey.enabled -}}
{{- $required = append $required "redis_url" -}}
{{- end -}}
{{- if and (ne (include "dedup.mode" .) "observe") (not .Values.config) -}}
{{- $required = concat $required (list "output_connection_string" "dead_letter_connection_string") -}}
{{- end -}}
{{- if or (hasKey $settings "output_connection_string") (hasKey $keys "output_connection_string") -}}
{{- $required = append $required "output_consumer_group" -}}
{{- end -}}
{{- range $required -}}
{{- if not (or (hasKey $settings .) (hasKey $keys .)) -}}
{{- fail (printf "%s is missing: name its key in a Secret under secrets.keys.%s, or, if it is not a secret, set settings.%s" . . .) -}}
{{- end -}}
{{- end -}}
{{- range $name, $value := $settings -}}
{{- if hasKey $keys $name -}}
{{- fail (printf "settings.%s is also given by a Secret: set it in one place only" $name) -}}
{{- end -}}
{{- if regexMatch "(?i)(SharedAccessKey|SharedAccessSignature|AccountKey)=|[?&]sig=|://[^/]*:[^/]+@" (toString $value) -}}
{{- fail (printf "settings.%s holds a secret: put it into a Secret and name its key under secrets.keys.%s" $name $name) -}}
{{- end -}}
{{- end -}}
{{- if and $keys (not (include "dedup.secretName" .)) -}}
{{- fail "secrets.existingSecret is missing: the entries of secrets.keys are keys of that Secret" -}}
{{- end -}}
{{- if and .Values.valkey.enabled (or (hasKey $settings "redis_url") (hasKey $keys "redis_url")) -}}
{{- fail "valkey.enabled and redis_url exclude each other: use either the bundled Valkey or your own Redis" -}}
{{- end -}}
{{- if and .Values.secretsStore.enabled (not (and .Values.secretsStore.keyVaultName .Values.secretsStore.tenantId)) -}}
{{- fail "secretsStore.keyVaultName and secretsStore.tenantId are needed with secretsStore.enabled" -}}
{{- end -}}
{{- if and .Values.secretsStore.enabled (not .Values.workloadIdentity.enabled) -}}
{{- fail "workloadIdentity.enabled is needed with secretsStore.enabled: the Key Vault requires an identity" -}}
{{- end -}}
{{- if and .Values.workloadIdentity.enabled (not .Values.workloadIdentity.clientId) -}}
{{- fail "workloadIdentity.clientId is missing: the client id of the managed identity" -}}
{{- end -}}
{{- if hasPrefix "sqlite:" (toString (get $settings "checkpoint_url")) -}}
{{- fail "settings.checkpoint_url is a file, but pods don't share files and their root file system is read-only: name a blob container" -}}
{{- end -}}
{{- if and .Values.autoscaling.hpa.enabled .Values.autoscaling.keda.enabled -}}
{{- fail "autoscaling.hpa.enabled and autoscaling.keda.enabled exclude each other" -}}
{{- end -}}
{{- range $kind := list "hpa" "keda" -}}
{{- $scaling := get $.Values.autoscaling $kind -}}
{{- if and $scaling.enabled (gt (int $scaling.maxReplicas) (int $.Values.partitions)) -}}
{{- fail (printf "autoscaling.%s.maxReplicas is %d, and the input hub has only %d partitions (partitions): further pods would be idle" $kind (int $scaling.maxReplicas) (int $.Values.partitions)) -}}
{{- end -}}
{{- if and $scaling.enabled (gt (int $scaling.minReplicas) (int $scaling.maxReplicas)) -}}
{{- fail (printf "autoscaling.%s.minReplicas is above autoscaling.%s.maxReplicas" $kind $kind) -}}
{{- end -}}
{{- end -}}
{{- with .Values.autoscaling.keda -}}
{{- if and .enabled (not .existingSecret) -}}
{{- range $name := list "eventHubNamespace" "eventHubName" "storageAccountName" -}}
{{- if not (get $.Values.autoscaling.keda $name) -}}
{{- fail (printf "autoscaling.keda.%s is missing: KEDA needs it with workload identity" $name) -}}
{{- end -}}
{{- end -}}
{{- end -}}
{{- if and .enabled (not (get $settings "input_consumer_group")) -}}
{{- fail "settings.input_consumer_group is missing: autoscaling.keda needs it, and can watch one input only" -}}
{{- end -}}
{{- if and .enabled (not .blobContainer) -}}
{{- fail "autoscaling.keda.blobContainer is missing: the container of the checkpoints" -}}
{{- end -}}
{{- end -}}
{{- if .Values.tests.roundTrip -}}
{{- range $name := list "check_connection_string" "output_connection_string" -}}
{{- if not (or (hasKey $settings $name) (hasKey $keys $name)) -}}
{{- fail (printf "%s is missing: tests.roundTrip needs the input hub with the right to send, and the clean hub" $name) -}}
{{- end -}}
{{- end -}}
{{- if eq (include "dedup.mode" .) "observe" -}}
{{- fail "tests.roundTrip and settings.mode observe exclude each other: nothing is published" -}}
{{- end -}}
{{- if gt (len (dig "inputs" list .Values.config)) 1 -}}
{{- fail "tests.roundTrip is for one input, and config.inputs has several" -}}
{{- end -}}
{{- range dig "groups" list .Values.config -}}
{{- if eq .name "dedup-check" -}}
{{- fail "config.groups: dedup-check is the name of the group that tests.roundTrip brings" -}}
{{- end -}}
{{- end -}}
{{- end -}}
{{- if and .Values.valkey.enabled (not .Values.valkey.existingSecret) -}}
{{- fail "valkey.existingSecret is missing: the Secret with the Valkey's password under valkey.passwordKey (letters and digits)" -}}
{{- end -}}
{{- $hasToken := or (hasKey $settings "api_token") (hasKey $keys "api_token") -}}
{{- if and $hasToken (ne .Values.service.type "ClusterIP") (not .Values.tls.secretName) -}}
{{- fail (printf "tls.secretName is missing: with service.type %s and without TLS, api_token would cross the network in clear text. Or use ingress or httpRoute, which end TLS" .Values.service.type) -}}
{{- end -}}
{{- if and .Values.service.loadBalancerClass (ne .Values.service.type "LoadBalancer") -}}
{{- fail "service.loadBalancerClass needs service.type LoadBalancer" -}}
{{- end -}}
{{- if and .Values.service.externalTrafficPolicy (eq .Values.service.type "ClusterIP") -}}
{{- fail "service.externalTrafficPolicy needs service.type LoadBalancer or NodePort" -}}
{{- end -}}
{{- with .Values.ingress -}}
{{- if and .enabled (not .host) -}}
{{- fail "ingress.host is missing" -}}
{{- end -}}
{{- if and .enabled $hasToken (not .tlsSecret) -}}
{{- fail "ingress.tlsSecret is missing: without TLS, api_token would cross the network in clear text" -}}
{{- end -}}
{{- end -}}
{{- if and .Values.httpRoute.enabled (not .Values.httpRoute.parentRefs) -}}
{{- fail "httpRoute.parentRefs is missing: the Gateway that leads to this route" -}}
{{- end -}}
{{- $own := merge (include "dedup.selector" . | fromYaml) (dict "app.kubernetes.io/version" "" "app.kubernetes.io/managed-by" "" "helm.sh/chart" "" "azure.workload.identity/use" "") -}}
{{- range $path, $labels := dict "commonLabels" .Values.commonLabels "podLabels" .Values.podLabels -}}
{{- range $name, $_ := $labels -}}
{{- if hasKey $own $name -}}
{{- fail (printf "%s: %s is a label of the chart's own" $path $name) -}}
{{- end -}}
{{- if and (eq $path "podLabels") (hasKey $.Values.commonLabels $name) -}}
{{- fail (printf "podLabels: %s is also in commonLabels: set it in one place only" $name) -}}
{{- end -}}
{{- end -}}
{{- end -}}
{{- $needed := add .Values.preStopSeconds 20 -}}
{{- if lt (int .Values.terminationGracePeriodSeconds) (int $needed) -}}
{{- fail (printf "terminationGracePeriodSeconds is %d, and preStopSeconds with the 20 s of the service's own end is %d: a pod would be killed at work" (int .Values.terminationGracePeriodSeconds) (int $needed)) -}}
{{- end -}}
{{- if and .Values.workloadIdentity.enabled (not .Values.serviceAccount.create) (not .Values.serviceAccount.name) -}}
{{- fail "serviceAccount.name is missing: workloadIdentity needs a ServiceAccount that its federated credential names, and serviceAccount.create is false" -}}
{{- end -}}
{{- range .Values.extraEnv -}}
{{- if hasPrefix "DEDUP_" .name -}}
{{- $setting := .name | trimPrefix "DEDUP_" | lower -}}
{{- fail (printf "extraEnv: %s is a setting: set settings.%s, or name its key in a Secret under secrets.keys.%s" .name $setting $setting) -}}
{{- end -}}
{{- end -}}
{{- $names := list -}}
{{- range include "dedup.env" . | fromYamlArray -}}
{{- if has .name $names -}}
{{- fail (printf "extraEnv: %s is given twice" .name) -}}
{{- end -}}
{{- $names = append $names .name -}}
{{- end -}}
{{- range .Values.networkPolicy.egress -}}
{{- if and .endPort (lt (int .endPort) (int .port)) -}}
{{- fail (printf "networkPolicy.egress: endPort %d is below port %d" (int .endPort) (int .port)) -}}
{{- end -}}
{{- end -}}
{{- range $path, $resources := dict "resources" .Values.resources "valkey.resources" .Values.valkey.resources "tests.resources" .Values.tests.resources -}}
{{- range $name, $request := $resources.requests -}}
{{- $limit := dig "limits" $name $request $resources -}}
{{- if gt (include "dedup.amount" $request | float64) (include "dedup.amount" $limit | float64) -}}
{{- fail (printf "%s.requests.%s is %v, which is above its limit of %v" $path $name $request $limit) -}}
{{- end -}}
{{- end -}}
{{- end -}}
{{- end -}}

{{/* A quantity as a number. */}}
{{- define "dedup.amount" -}}
{{- $units := dict "" 1.0 "n" 1e-9 "u" 1e-6 "m" 1e-3 "k" 1e3 "M" 1e6 "G" 1e9 "T" 1e12 "P" 1e15 "E" 1e18 "Ki" 1024.0 "Mi" 1048576.0 "Gi" 1073741824.0 "Ti" 1099511627776.0 "Pi" 1125899906842624.0 "Ei" 1152921504606846976.0 -}}
{{- $unit := regexFind "([munkMGTPE]|[KMGTPE]i)$" (toString .) -}}
{{- mulf (toString . | trimSuffix $unit | float64) (get $units $unit) -}}
{{- end -}}
