"""The MQTT topic grammar both ways, and every payload."""
