{{- define "greeter.labels" -}}
app: {{ .Chart.Name }}
release: {{ .Release.Name }}
{{- end }}
