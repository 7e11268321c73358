package argocd

import (
	"slices"
	"strings"

	"github.com/plumb-gitops/plumb/pkg/app/v1alpha1"
	"github.com/plumb-gitops/plumb/pkg/moving"
)

// ignore is spec.ignoreDifferences.
func (s *spec) ignore(a *v1alpha1.Application) {
	rules := s.at.At("ignoreDifferences").Each()
	for _, f := range rules {
		if rule, is := ignored(f); is {
			a.Spec.Ignore = append(a.Spec.Ignore, rule)
		}
	}
	respected := slices.Contains(s.at.At("syncPolicy", "syncOptions").Texts(), "RespectIgnoreDifferences=true")
	if len(a.Spec.Ignore) > 0 && !respected {
		s.in.Tell(moving.Info, "spec.ignore holds for syncs too, as RespectIgnoreDifferences=true does in Argo CD")
	}
}

func ignored(f moving.Field) (v1alpha1.IgnoreRule, bool) {
	rule := v1alpha1.IgnoreRule{
		Group: f.At("group").Text(), Kind: f.At("kind").Text(), Name: f.At("name").Text(), Namespace: f.At("namespace").Text(),
	}
	f.At("managedFieldsManagers").Tell(moving.Lost, "has no counterpart: what another manager owns and Git does not say is never a difference here; for what both say, name the fields")
	switch {
	case strings.ContainsAny(rule.Group, "*?[") && rule.Kind == "*":
		rule.Group = ""
		f.At("group").Tell(moving.Info, "kind \"*\" means every kind of every group")
	case strings.ContainsAny(rule.Group, "*?[") || rule.Kind != "*" && strings.ContainsAny(rule.Kind, "*?["):
		f.Tell(moving.Lost, "group and kind are no globs here; write one rule for each kind")
		return rule, false
	}
	if !moving.Ignorable(v1alpha1.IgnoreRule{Kind: rule.Kind, Name: rule.Name, Namespace: rule.Namespace, Paths: []string{"/spec"}}) {
		f.Tell(moving.Lost, "kind, name or namespace is not one that spec.ignore takes")
		return rule, false
	}
	for _, p := range f.At("jsonPointers").Each() {
		add(&rule, p, p.Text(), "")
	}
	for _, p := range f.At("jqPathExpressions").Each() {
		path, expression, err := translate(p.Text())
		if err != nil {
			p.Tell(moving.Lost, "is no form of jq that has a counterpart (%v); write it as CEL in spec.ignore[].expressions", err)
			continue
		}
		add(&rule, p, path, expression)
	}
	if len(rule.Paths)+len(rule.Expressions) == 0 {
		f.Rest("names no field that can be ignored; left out")
		return rule, false
	}
	return rule, true
}

// add adds a pointer or an expression that spec.ignore takes.
func add(rule *v1alpha1.IgnoreRule, f moving.Field, path, expression string) {
	try := v1alpha1.IgnoreRule{Kind: rule.Kind}
	switch {
	case path == "/status" || strings.HasPrefix(path, "/status/"):
		f.Tell(moving.Info, "the status is never a difference")
		return
	case path != "":
		try.Paths = []string{path}
	default:
		try.Expressions = []string{expression}
	}
	if !moving.Ignorable(try) {
		f.Tell(moving.Lost, "covers or is no field that can be ignored; see docs/diff-and-ignore.md")
		return
	}
	rule.Paths = append(rule.Paths, try.Paths...)
	rule.Expressions = append(rule.Expressions, try.Expressions...)
}
