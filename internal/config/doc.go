// Package config reads the settings of one process: a YAML file, overridden by
// GUANJIA_* variables, overridden by flags. Every option stands in one table
// with name, default, check and a sentence of help (options.go). Unknown keys
// are errors, and a bad setting is refused with its name and the remedy.
//
// It decides nothing about companies: their credentials and rules are rows
// (internal/company). Floor 1.
package config
