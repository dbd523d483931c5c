"""Calendars: their rules, and the runtime that keeps one actor per calendar."""
