package argocd

import (
	"path"
	"strings"

	"github.com/plumb-gitops/plumb/pkg/app/v1alpha1"
	"github.com/plumb-gitops/plumb/pkg/moving"
)

func (s *spec) helm(f moving.Field, a *v1alpha1.Application) {
	at := f.At("helm")
	out := a.Spec.Source.Helm
	if out == nil {
		out = &v1alpha1.HelmSource{}
		a.Spec.Source.Helm = out
	}
	out.ReleaseName = at.At("releaseName").Text()
	if len(out.ReleaseName) > 53 && !strings.Contains(out.ReleaseName, "{{") {
		at.At("releaseName").Tell(moving.Failed, "is longer than 53 characters, which Helm refuses")
	}
	out.SkipCRDs = s.flag(at.At("skipCrds"))
	out.IgnoreMissingValueFiles = s.flag(at.At("ignoreMissingValueFiles"))
	for _, file := range at.At("valueFiles").Each() {
		if name := s.valueFile(file, f, a); name != "" {
			out.ValueFiles = append(out.ValueFiles, name)
		}
	}
	out.Values = moving.Values(s.values(at))
	s.helmRest(at)
}

// flag reads a truth value whose default is false.
func (s *spec) flag(f moving.Field) bool {
	given := f.Bool()
	if !given {
		f.Tell(moving.Info, "is the default")
	}
	return given
}

// values are what Argo CD gives to Helm beside the files: valuesObject or values,
// then parameters.
func (s *spec) values(at moving.Field) map[string]any {
	values := map[string]any{}
	object, text := at.At("valuesObject"), at.At("values")
	switch {
	case object.Given():
		values, _ = object.Any().(map[string]any)
		text.Tell(moving.Info, "is passed over by Argo CD too, where valuesObject is given")
	case text.Given():
		if s.template && strings.Contains(text.Peek(), ": {{") {
			text.Tell(moving.Failed, "is no YAML before its templates are carried out: put quotes around {{ }}, which makes texts; spec.templatePatch of the ApplicationSet writes other values")
			return nil
		}
		values = text.ParseValues()
	}
	values = moving.Merge(values, nil)
	for _, p := range at.At("parameters").Each() {
		s.parameter(p, values)
	}
	return values
}

func (s *spec) parameter(p moving.Field, values map[string]any) {
	name, value := p.At("name").Text(), p.At("value").Text()
	asText := p.At("forceString")
	if strings.Contains(value, "$ARGOCD_") || strings.Contains(value, "${ARGOCD_") {
		p.Tell(moving.Lost, "there are no variables of the build; write the value")
		return
	}
	var v any = value
	if s.template && strings.Contains(value, "{{") {
		p.Tell(moving.Lost, "became a text, where helm --set reads a number or a truth value; templatePatch writes other values")
	} else {
		v = read(value, asText.Bool())
	}
	if err := place(values, name, v); err != nil {
		p.Tell(moving.Lost, "cannot be merged into the values: %v", err)
		return
	}
	if _, same := scalar(value).(string); same {
		asText.Tell(moving.Info, "the value is a text anyway")
	}
}

// valueFile is the name of a value file: seen from the path of the source, in the
// tree of another source, or in a chart that was fetched.
func (s *spec) valueFile(f, source moving.Field, a *v1alpha1.Application) string {
	text := f.Text()
	fetched := a.Spec.Source.Helm.Chart != ""
	r := s.referTo(text)
	switch {
	case strings.Contains(text, "://"):
		f.Tell(moving.Lost, "value files are not fetched from URLs; put it into Git")
		return ""
	case strings.ContainsAny(text, "*\\\n\r:") || text == "" || text == "/":
		f.Tell(moving.Lost, "is no path of one file")
		return ""
	case r != nil && fetched && r.at.Path == s.homeOf:
		_, file, _ := strings.Cut(text, "/")
		return path.Clean(file)
	case r != nil:
		_, file, _ := strings.Cut(text, "/")
		return "$" + r.name + "/" + path.Clean(file)
	case strings.HasPrefix(text, "$"):
		f.Tell(moving.Failed, "there is no source with this ref")
		return ""
	case fetched:
		return "$chart/" + path.Clean(strings.TrimLeft(text, "/"))
	case strings.HasPrefix(text, "/"):
		return relative(source.At("path").Text(), text)
	}
	return path.Clean(text)
}

func (s *spec) helmRest(at moving.Field) {
	at.At("fileParameters").Tell(moving.Lost, "a file as one value has no counterpart; write its content into values")
	at.At("passCredentials").Tell(moving.Lost, "archives on another host are fetched without the credential")
	at.At("skipSchemaValidation").Tell(moving.Lost, "values are always checked against the chart's schema")
	at.At("skipTests").Tell(moving.Info, "tests of charts are never run")
	at.At("version").Tell(moving.Info, "Helm is part of Plumb, in one version")
	at.At("namespace").Tell(moving.Lost, "the namespace of the release is spec.destination.namespace")
	for _, name := range []string{"kubeVersion", "apiVersions"} {
		at.At(name).Tell(moving.Lost, "the version and the APIs are those of the cluster")
	}
}
