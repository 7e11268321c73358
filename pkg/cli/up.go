package cli

import (
	"fmt"

	"github.com/spf13/cobra"

	"github.com/plumb-gitops/plumb/pkg/service"
)

func newUp(env Env) *cobra.Command {
	var o service.Options
	c := &cobra.Command{
		Use:   "up --config FILE",
		Short: "Run all of Plumb in this process",
		Long: `Run receiver, worker, drift-scanner, alerter and dashboard in one process, with a
NATS server inside when nats.url is empty. The CustomResourceDefinitions of Application
and ApplicationSet are installed, or upgraded, first. The token for get, sync and
events is in the file "token" of nats.dataDir.

It ends on SIGINT and SIGTERM; a second one ends it at once.`,
		Example: `  plumb up --config plumb.yaml
  plumb up --config plumb.yaml --log-format json --log-level debug`,
		Args: cobra.NoArgs,
		RunE: func(c *cobra.Command, _ []string) error {
			if o.ConfigFile == "" {
				return fmt.Errorf("name the configuration with --config; %w", errUsage)
			}
			return everything().Start(c.Context(), o, env.Getenv, c.ErrOrStderr())
		},
	}
	c.Flags().StringVar(&o.ConfigFile, "config", "", "configuration `file`")
	c.Flags().StringVar(&o.LogFormat, "log-format", "text", "`format` of log lines: text or json")
	c.Flags().StringVar(&o.LogLevel, "log-level", "info", "lowest `level` that is logged: debug, info, warn or error")
	return c
}
