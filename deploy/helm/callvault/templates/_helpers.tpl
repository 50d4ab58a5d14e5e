{{/* NAMES */}}

{{- define "callvault.name" -}}
{{- default .Chart.Name .Values.nameOverride | trunc 40 | trimSuffix "-" -}}
{{- end }}

{{/* What the objects' names begin with; a CronJob's name may have 52 characters. */}}
{{- define "callvault.fullname" -}}
{{- $name := include "callvault.name" . -}}
{{- if .Values.fullnameOverride -}}
{{- .Values.fullnameOverride | trunc 40 | trimSuffix "-" -}}
{{- else if contains $name .Release.Name -}}
{{- .Release.Name | trunc 40 | trimSuffix "-" -}}
{{- else -}}
{{- printf "%s-%s" .Release.Name $name | trunc 40 | trimSuffix "-" -}}
{{- end -}}
{{- end }}

{{- define "callvault.secretName" -}}
{{- default (include "callvault.fullname" .) .Values.secrets.name -}}
{{- end }}

{{/* What chooses pods: worker, check and audit differ in their component. */}}
{{- define "callvault.selector" -}}
app.kubernetes.io/name: {{ include "callvault.name" . }}
app.kubernetes.io/instance: {{ .Release.Name }}
{{- end }}

{{- define "callvault.labels" -}}
{{ include "callvault.selector" . }}
app.kubernetes.io/version: {{ .Chart.AppVersion | quote }}
app.kubernetes.io/managed-by: {{ .Release.Service }}
helm.sh/chart: {{ printf "%s-%s" .Chart.Name .Chart.Version | replace "+" "_" }}
{{- end }}

{{- define "callvault.image" -}}
{{- with .Values.image -}}
{{- if .digest -}}
{{ .repository }}@{{ .digest }}
{{- else -}}
{{ .repository }}:{{ default $.Chart.AppVersion .tag }}
{{- end -}}
{{- end -}}
{{- end }}

{{/* TOML. JSON's strings are TOML's. Helm reads every number as a float. */}}

{{- define "callvault.tomlValue" -}}
{{- if kindIs "string" . -}}
{{ toJson . }}
{{- else if kindIs "bool" . -}}
{{ . }}
{{- else if kindIs "slice" . -}}
[{{ range $index, $item := . }}{{ if $index }}, {{ end }}{{ include "callvault.tomlValue" $item }}{{ end }}]
{{- else if eq (float64 (int64 .)) (float64 .) -}}
{{ int64 . }}
{{- else -}}
{{ . }}
{{- end -}}
{{- end }}

{{/* Whether a value is to be left out: null, and empty text, lists and maps. 0 and false are values. */}}
{{- define "callvault.isEmpty" -}}
{{- if or (kindIs "invalid" .) (and (or (kindIs "string" .) (kindIs "slice" .) (kindIs "map" .)) (empty .)) -}}
true
{{- end -}}
{{- end }}

{{/* The keys of a table, then the tables in it. list: its name, empty for none; the table. */}}
{{- define "callvault.tomlTable" -}}
{{- $name := index . 0 -}}
{{- $table := index . 1 -}}
{{- if $name }}
[{{ $name }}]
{{ end -}}
{{- range $key, $value := $table -}}
{{- if not (or (include "callvault.isEmpty" $value) (kindIs "map" $value)) -}}
{{ if regexMatch "^[A-Za-z0-9_-]+$" $key }}{{ $key }}{{ else }}{{ toJson $key }}{{ end }} = {{ include "callvault.tomlValue" $value }}
{{ end -}}
{{- end -}}
{{- range $key, $value := $table -}}
{{- if and (kindIs "map" $value) (not (include "callvault.isEmpty" $value)) -}}
{{- include "callvault.tomlTable" (list (ternary (printf "%s.%s" $name $key) $key (ne $name "")) $value) -}}
{{- end -}}
{{- end -}}
{{- end }}

{{- define "callvault.toml" -}}
# Of the values `config`. Every key and its default: config/callvault.toml.
tenants_dir = "/etc/callvault/tenants"
{{ range $section, $table := .Values.config -}}
{{- with $table }}{{ include "callvault.tomlTable" (list $section .) }}{{ end -}}
{{- end -}}
{{- end }}

{{/* A file of tenants_dir. list: the id, the tenant. */}}
{{- define "callvault.tenant" -}}
{{- $id := index . 0 -}}
{{- $tenant := deepCopy (index . 1) -}}
{{- $_ := set $tenant "id" $id -}}
{{- if not (or $tenant.secret_key_file $tenant.secret_key_env) -}}
{{- $_ := set $tenant "secret_key_file" (printf "/etc/callvault/secrets/%s-secret-key" $id) -}}
{{- end -}}
{{ include "callvault.tomlTable" (list "" $tenant) }}
{{- end }}

{{/* The data of the ConfigMap of tenants. */}}
{{- define "callvault.tenants" -}}
{{- range $id, $tenant := .Values.tenants }}
{{- if $tenant }}
{{- if not (or (dig "ccfs" "endpoints" "" $tenant) (dig "ccfs" "endpoints" "" $.Values.config)) -}}
{{- fail (printf "tenant %s has no CC-FS: set config.ccfs.endpoints, or tenants.%s.ccfs.endpoints" $id $id) -}}
{{- end -}}
{{- if not (or (dig "store" "bucket" "" $tenant) (dig "store" "bucket" "" $.Values.config)) -}}
{{- fail (printf "tenant %s has no bucket: set config.store.bucket, or tenants.%s.store.bucket" $id $id) -}}
{{- end }}
{{ $id }}.toml: |
{{ include "callvault.tenant" (list $id $tenant) | indent 2 }}
{{- end }}
{{- end }}
{{- end }}

{{/* The seconds of a duration such as 1m30s, rounded up. */}}
{{- define "callvault.seconds" -}}
{{- $milliseconds := 0 -}}
{{- $units := dict "d" 86400000 "h" 3600000 "m" 60000 "s" 1000 "ms" 1 -}}
{{- range regexFindAll "[0-9]+[a-z]+" . -1 -}}
{{- $number := regexFind "[0-9]+" . | int64 -}}
{{- $unit := get $units (regexFind "[a-z]+" .) | int64 -}}
{{- $milliseconds = add $milliseconds (mul $number $unit) -}}
{{- end -}}
{{- div (add $milliseconds 999) 1000 -}}
{{- end }}

{{- define "callvault.gracePeriod" -}}
{{- $drain := include "callvault.seconds" (dig "worker" "drain_timeout" "25s" .Values.config) -}}
{{- add $drain (int64 .Values.terminationGraceMargin) -}}
{{- end }}

{{/* PODS. What worker, check and audit have in common. */}}

{{- define "callvault.podSecurityContext" -}}
runAsNonRoot: true
{{- range $key, $id := .Values.podSecurityContext }}
{{- if not (kindIs "invalid" $id) }}
{{ $key }}: {{ int64 $id }}
{{- end }}
{{- end }}
seccompProfile:
  type: RuntimeDefault
{{- end }}

{{- define "callvault.securityContext" -}}
allowPrivilegeEscalation: false
readOnlyRootFilesystem: true
capabilities:
  drop: [ALL]
{{- end }}

{{- define "callvault.identity" -}}
automountServiceAccountToken: false
{{- with .Values.serviceAccountName }}
serviceAccountName: {{ . }}
{{- end }}
{{- with .Values.imagePullSecrets }}
imagePullSecrets:
  {{- toYaml . | nindent 2 }}
{{- end }}
securityContext:
  {{- include "callvault.podSecurityContext" . | nindent 2 }}
{{- end }}

{{- define "callvault.placement" -}}
{{- with .Values.nodeSelector }}
nodeSelector:
  {{- toYaml . | nindent 2 }}
{{- end }}
{{- with .Values.tolerations }}
tolerations:
  {{- toYaml . | nindent 2 }}
{{- end }}
{{- with .Values.affinity }}
affinity:
  {{- toYaml . | nindent 2 }}
{{- end }}
{{- with .Values.priorityClassName }}
priorityClassName: {{ . }}
{{- end }}
{{- end }}

{{/* The container's environment. The file is in a folder of its own, so that others can lie beside it. */}}
{{- define "callvault.env" -}}
- name: CALLVAULT_CONFIG
  value: /etc/callvault/config/callvault.toml
{{- with .Values.env }}
{{ toYaml . }}
{{- end }}
{{- end }}

{{/* Whether an archive may have to be unpacked on disk. */}}
{{- define "callvault.unpacks" -}}
{{- if or .Values.tmp.enabled (eq "unpack" (dig "store" "zip" "" .Values.config)) -}}
true
{{- else -}}
{{- range .Values.tenants -}}
{{- if eq "unpack" (dig "store" "zip" "" (default dict .)) -}}true{{- end -}}
{{- end -}}
{{- end -}}
{{- end }}

{{- define "callvault.volumeMounts" -}}
{{/* Folders, not files of them: what is mounted by subPath is never renewed. */ -}}
- { name: config, mountPath: /etc/callvault/config, readOnly: true }
- { name: secrets, mountPath: /etc/callvault/secrets, readOnly: true }
- { name: tenants, mountPath: /etc/callvault/tenants, readOnly: true }
{{- if .Values.ca.existingConfigMap }}
- { name: ca, mountPath: /etc/callvault/ca, readOnly: true }
{{- end }}
{{- end }}

{{/* dict: root; suffix, of the names of what the chart makes: the check before an upgrade has its own. */}}
{{- define "callvault.volumes" -}}
{{- $name := printf "%s%s" (include "callvault.fullname" .root) .suffix -}}
{{- $secret := include "callvault.secretName" .root -}}
{{- with .root.Values -}}
- name: config
  configMap:
    name: {{ $name }}
    defaultMode: 0440
- name: secrets
  secret:
    secretName: {{ ternary (printf "%s%s" $secret $.suffix) $secret .secrets.create }}
    defaultMode: 0440
- name: tenants
  projected:
    defaultMode: 0440
    sources:
      - configMap:
          name: {{ $name }}-tenants
      {{- range .tenantsFrom.configMaps }}
      - configMap:
          name: {{ . }}
      {{- end }}
      {{- range .tenantsFrom.secrets }}
      - secret:
          name: {{ . }}
      {{- end }}
{{- with .ca.existingConfigMap }}
- name: ca
  configMap:
    name: {{ . }}
    defaultMode: 0440
    items:
      - { key: ca.crt, path: ca.crt }
{{- end }}
{{- end }}
{{- end }}

{{/* The folder for temporary files. */}}
{{- define "callvault.tmp" -}}
- name: tmp
  emptyDir:
    # On disk: `medium: Memory` would count against the limit.
    sizeLimit: {{ .Values.tmp.sizeLimit }}
{{- end }}
