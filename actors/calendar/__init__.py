"""The calendar's rules: pure functions over one state. Time comes in as `now`; nothing here waits."""
