// Writes each event of callvault down once, and acknowledges it only then.
//
//     AMQP_URL=amqp://guest:guest@127.0.0.1:5672/%2f java -cp 'lib/*' Consumer.java events.tsv
import static java.nio.charset.StandardCharsets.UTF_8;

import com.rabbitmq.client.ConnectionFactory;
import java.io.RandomAccessFile;
import java.util.Map;
import java.util.stream.Collectors;

class Consumer {
    public static void main(String[] arguments) throws Exception {
        var exchange = env("EXCHANGE", "recordings"); // broker.events_exchange
        var queue = env("QUEUE", "archive-events"); // yours alone
        var binding = env("BINDING", "#"); // all events; recording.# misses dump.expanded

        var path = arguments.length > 0 ? arguments[0] : "events.tsv";
        var file = new RandomAccessFile(path, "rwd"); // what is written is on the disk
        var bytes = new byte[(int) file.length()];
        file.readFully(bytes);
        var text = new String(bytes, UTF_8);
        var lines = text.substring(0, text.lastIndexOf('\n') + 1);
        file.setLength(lines.getBytes(UTF_8).length); // a crash may have left half a line
        var known = lines.lines().map(line -> line.split("\t")[0]).collect(Collectors.toSet());

        var factory = new ConnectionFactory();
        factory.setUri(env("AMQP_URL", "amqp://guest:guest@127.0.0.1:5672/%2f"));
        factory.setAutomaticRecoveryEnabled(false); // whoever started it starts it again
        var channel = factory.newConnection().createChannel();
        channel.addShutdownListener(cause -> { System.err.println(cause); System.exit(1); });
        channel.exchangeDeclare(exchange, "topic", true); // as callvault does
        // RabbitMQ 4 drops what was delivered 20 times, unless the queue says otherwise.
        var limits = Map.<String, Object>of(
                "x-queue-type", "quorum", "x-delivery-limit", 1_000_000_000);
        channel.queueDeclare(queue, true, false, false, limits);
        channel.queueBind(queue, exchange, binding);
        channel.basicQos(100);
        channel.basicConsume(queue, false, (tag, delivery) -> {
            var properties = delivery.getProperties();
            var isNew = known.add(properties.getMessageId()); // the event's id
            if (isNew) {
                var event = new String(delivery.getBody(), UTF_8); // which is one line
                file.write((properties.getMessageId() + "\t" + event + "\n").getBytes(UTF_8));
            }
            // Written: a crash before this brings it again.
            channel.basicAck(delivery.getEnvelope().getDeliveryTag(), false);
            var what = isNew ? "new   " : "repeat";
            System.out.println(what + " " + properties.getType() + " " + properties.getMessageId());
        }, tag -> { throw new IllegalStateException("the queue was deleted"); });
    }

    static String env(String name, String otherwise) {
        return System.getenv().getOrDefault(name, otherwise);
    }
}
