package flux_test

import (
	"testing"

	"github.com/plumb-gitops/plumb/pkg/moving/flux"
	"github.com/plumb-gitops/plumb/pkg/moving/movingtest"
)

func TestConvert(t *testing.T) { movingtest.Golden(t, flux.Convert) }

func TestNoFieldIsDroppedInSilence(t *testing.T) { movingtest.Complete(t, flux.Convert) }

func TestOrderDoesNotMatter(t *testing.T) { movingtest.AnyOrder(t, flux.Convert) }

func TestSecretsStayWhereTheyAre(t *testing.T) { movingtest.Discreet(t, flux.Convert) }

func FuzzConvert(f *testing.F) { movingtest.Fuzz(f, flux.Convert) }
