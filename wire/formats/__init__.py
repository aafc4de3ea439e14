"""What existing senders put into IoT Hub and Event Hubs: one module for each format says which readings a message holds."""
